"""Parts of a decoded image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.content import measured
from encoders.modalities import MODALITIES
from encoders.regions import Crop, Region

# A part of fewer pixels shows nothing that an encoder could know.
MIN_SIDE = 8


@dataclass(frozen=True, slots=True)
class View:
    """What a region shows in one image.

    Attributes:
        raw: Its pixels, as of `decode_image`; without any measurement where it shows nothing.
        missing: Why it shows nothing, in a few words; empty if it does.
    """

    raw: NDArray[Any]
    missing: str = ''


def view_of(raw: NDArray[Any], region: Region) -> View:
    """Cut a region out of an image `[H, W, ...]` of its modality; without a copy."""
    part = cropped(raw, region.crop)
    height, width = part.shape[:2]
    if min(height, width) < MIN_SIDE:
        return View(_nothing(raw), f'only {width}x{height} pixels')
    if MODALITIES[region.modality].pixels != 'colour' and not measured(part).any():
        return View(_nothing(raw), 'no valid pixel')
    return View(part)


def cropped(raw: NDArray[Any], crop: Crop) -> NDArray[Any]:
    """The pixels `[h, w, ...]` of a crop; at least one."""
    rows = _span(crop.top, crop.height, raw.shape[0])
    columns = _span(crop.left, crop.width, raw.shape[1])
    return raw[rows, columns]


def _span(start: float, size: float, count: int) -> slice:
    first = min(round(start * count), count - 1)
    return slice(first, max(first + 1, round((start + size) * count)))


def _nothing(raw: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((MIN_SIDE, MIN_SIDE, *raw.shape[2:]), raw.dtype)
