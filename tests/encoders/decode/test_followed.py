"""Regions that follow boxes and masks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from encoders.decode.followed import Followed
from encoders.regions import parse_region

MS = 1_000_000


def box(*values: int) -> Any:
    names = ('x_offset', 'y_offset', 'width', 'height')
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


def mask(array: np.ndarray, encoding: str = 'mono8') -> Any:
    height, width = array.shape
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=width, is_bigendian=0,
        data=array.astype(np.uint8).tobytes(),
    )  # fmt: skip


def test_the_newest_box_counts_while_it_is_new_enough() -> None:
    followed = Followed(parse_region('cup=depth:box:tracker/cup'), max_age_ms=500)
    assert followed.at(0).missing == 'no box yet'
    followed.take(box(1, 2, 30, 40), 1000 * MS)
    followed.take(box(5, 6, 30, 40), 1100 * MS)
    assert followed.at(1600 * MS).box == (5, 6, 30, 40)
    assert followed.at(1601 * MS).missing == 'its box is 0.5 s old'
    assert followed.at(100 * MS).missing == 'its box is 1.0 s old'  # the clock was set back
    followed.take(box(0, 0, 0, 0), 1700 * MS)
    assert followed.at(1700 * MS).missing == 'the box is empty'


def test_a_mask_is_what_is_above_zero() -> None:
    followed = Followed(parse_region('cup=image:mask:/tracker/cup_mask'))
    assert followed.at(0).missing == 'no mask yet'
    array = np.zeros((12, 16), np.uint8)
    array[3:9, 4:8] = 1
    followed.take(mask(array), 0)
    found = followed.at(0).mask
    assert found is not None
    np.testing.assert_array_equal(found, array > 0)
    followed.take(mask(array, 'no_encoding'), 0)
    assert followed.at(0).missing.startswith('its mask cannot be decoded')


def test_a_fixed_crop_is_always_there() -> None:
    region = parse_region('near=depth:0,0,0.5,0.5')
    assert Followed(region).at(0).crop == region.crop
