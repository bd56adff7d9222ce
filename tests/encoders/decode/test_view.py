"""Parts of decoded images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode.view import Place, View, cropped, view_of
from encoders.regions import Crop

SHARES = st.floats(0, 1, exclude_max=True)


def view(raw: np.ndarray, *crop: float, modality: str = 'depth') -> View:
    return view_of(raw, modality, Place(crop=Crop(*crop)))


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
    for place in (Place(crop=Crop(0.5, 0.25, 0.5, 0.5)), Place(box=(30, 10, 30, 20))):
        found = view_of(image, modality, place)
        assert found.missing == ''
        np.testing.assert_array_equal(found.raw, image[10:30, 30:60])


def test_a_part_without_a_measurement_shows_nothing_and_says_why() -> None:
    image = np.full((40, 60), 900, np.uint16)
    image[:20, :30] = 0
    found = view(image, 0, 0, 0.5, 0.5)
    assert found.missing == 'no valid pixel'
    assert not found.raw.any() and found.raw.dtype == image.dtype
    assert view(image, 0.4, 0, 0.5, 0.5).missing == ''
    metres = np.full((40, 60), np.nan, np.float32)
    assert view(metres, 0, 0, 1, 1).missing == 'no valid pixel'


def test_a_part_of_a_few_pixels_shows_nothing() -> None:
    image = np.full((40, 60), 900, np.uint16)
    assert view(image, 0, 0, 0.1, 0.9).missing == 'only 6x36 pixels'


def test_a_box_is_cut_at_the_edges_of_the_image() -> None:
    image = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) + 1
    found = view_of(image, 'depth', Place(box=(50, 30, 200, 200)))
    np.testing.assert_array_equal(found.raw, image[30:, 50:])
    outside = view_of(image, 'depth', Place(box=(60, 0, 20, 20)))
    assert outside.missing == 'the box is outside the image'


def test_pixels_outside_a_mask_are_no_measurement() -> None:
    image = np.full((40, 60), 900, np.uint16)
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:40] = True
    mask[20:30, 20:30] = True
    found = view_of(image, 'depth', Place(mask=mask))
    assert found.raw.shape == (20, 20)
    np.testing.assert_array_equal(found.raw > 0, mask[10:30, 20:40])
    assert (image == 900).all()  # the image itself is left as it is
    colours = np.zeros((40, 60, 3), np.uint8)
    colours[mask] = (10, 20, 30)
    shown = view_of(colours, 'image', Place(mask=mask)).raw
    assert (shown == (10, 20, 30)).all()


def test_a_mask_of_another_resolution_is_scaled_and_of_another_shape_refused() -> None:
    image = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) + 1
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:20] = True
    found = view_of(image, 'depth', Place(mask=mask))
    np.testing.assert_array_equal(found.raw, image[10:30, 20:40])
    refused = view_of(image, 'depth', Place(mask=np.ones((30, 30), bool)))
    assert refused.missing == 'the mask has another aspect ratio (30x30 for an image of 60x40)'
    empty = view_of(image, 'depth', Place(mask=np.zeros((40, 60), bool)))
    assert empty.missing == 'the mask is empty'
