"""Parts of decoded images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode.view import cropped, view_of
from encoders.regions import Crop, Region

SHARES = st.floats(0, 1, exclude_max=True)


def region(*crop: float, modality: str = 'depth') -> Region:
    return Region('part', modality, Crop(*crop))


def test_a_crop_is_the_same_part_at_every_resolution() -> None:
    for scale in (1, 3):
        image = np.kron(np.arange(80).reshape(8, 10), np.ones((scale, scale))).astype(np.uint16)
        part = cropped(image, Crop(0.2, 0.5, 0.3, 0.25))
        assert part.shape == (2 * scale, 3 * scale)
        assert set(np.unique(part)) == {42, 43, 44, 52, 53, 54}


@given(st.integers(1, 40), st.integers(1, 40), SHARES, SHARES, SHARES, SHARES)
def test_a_crop_has_at_least_one_pixel_of_the_image(
    height: int, width: int, left: float, top: float, across: float, down: float
) -> None:
    image = np.arange(height * width).reshape(height, width)
    crop = Crop(left, top, (1 - left) * (1 - across), (1 - top) * (1 - down))
    part = cropped(image, crop)
    assert part.size and np.isin(part, image).all()
    assert abs(part.shape[1] - crop.width * width) <= 1
    assert abs(part.shape[0] - crop.height * height) <= 1


@pytest.mark.parametrize('modality', ['depth', 'infrared', 'image'])
def test_a_view_is_the_pixels_of_its_part(modality: str) -> None:
    shape = (40, 60, 3) if modality == 'image' else (40, 60)
    image = np.random.default_rng(0).integers(1, 255, shape).astype(np.uint8)
    view = view_of(image, region(0.5, 0.25, 0.5, 0.5, modality=modality))
    assert view.missing == ''
    np.testing.assert_array_equal(view.raw, image[10:30, 30:60])


def test_a_part_without_a_measurement_shows_nothing_and_says_why() -> None:
    image = np.full((40, 60), 900, np.uint16)
    image[:20, :30] = 0
    view = view_of(image, region(0, 0, 0.5, 0.5))
    assert view.missing == 'no valid pixel'
    assert not view.raw.any() and view.raw.dtype == image.dtype
    assert view_of(image, region(0.4, 0, 0.5, 0.5)).missing == ''
    metres = np.full((40, 60), np.nan, np.float32)
    assert view_of(metres, region(0, 0, 1, 1)).missing == 'no valid pixel'


def test_a_part_of_a_few_pixels_shows_nothing() -> None:
    image = np.full((40, 60), 900, np.uint16)
    assert view_of(image, region(0, 0, 0.1, 0.9)).missing == 'only 6x36 pixels'
