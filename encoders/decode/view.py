"""Parts of decoded images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.content import measured
from encoders.modalities import MODALITIES
from encoders.regions import Crop

# A part of fewer pixels shows nothing that an encoder could know.
MIN_SIDE = 8
# Relative difference of the aspect ratios of a mask and of the image that it is scaled to.
ASPECT_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a region is at one time: one of the first three, or none with a reason.

    Attributes:
        crop: In shares of the image.
        box: Left, top, width and height in pixels of the image.
        mask: bool `[h, w]`, of the aspect ratio of the image.
        missing: Why it is nowhere, in a few words.
    """

    crop: Crop | None = None
    box: tuple[int, int, int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    missing: str = ''


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a region shows in one image.

    Attributes:
        raw: Its pixels, as of `decode_image`; without any measurement where it shows nothing.
        missing: Why it shows nothing, in a few words; empty if it does.
    """

    raw: NDArray[Any]
    missing: str = ''


def view_of(raw: NDArray[Any], modality: str, place: Place) -> View:
    """Cut a region out of an image `[H, W, ...]` of a modality; only a mask copies pixels.

    Pixels outside a mask become holes in depth and infrared images, and get the mean of the pixels
    inside in colour images.
    """
    if place.missing:
        return View(_nothing(raw), place.missing)
    part, missing = _part(raw, modality, place)
    height, width = part.shape[:2]
    if not missing and min(height, width) < MIN_SIDE:
        missing = f'only {width}x{height} pixels'
    is_colour = MODALITIES[modality].pixels == 'colour'
    if not missing and not is_colour and not measured(part).any():
        missing = 'no valid pixel'
    return View(_nothing(raw), missing) if missing else View(part)


def _part(raw: NDArray[Any], modality: str, place: Place) -> tuple[NDArray[Any], str]:
    if place.crop is not None:
        return cropped(raw, place.crop), ''
    if place.box is not None:
        left, top, width, height = place.box
        part = raw[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        return part, '' if part.size else 'the box is outside the image'
    assert place.mask is not None, 'a place is a crop, a box, a mask or missing'
    return _masked(raw, modality, place.mask)


def cropped(raw: NDArray[Any], crop: Crop) -> NDArray[Any]:
    """The pixels `[h, w, ...]` of a crop; at least one."""
    rows = _span(crop.top, crop.height, raw.shape[0])
    columns = _span(crop.left, crop.width, raw.shape[1])
    return raw[rows, columns]


def _span(start: float, size: float, count: int) -> slice:
    first = min(round(start * count), count - 1)
    return slice(first, max(first + 1, round((start + size) * count)))


def _masked(raw: NDArray[Any], modality: str, mask: NDArray[np.bool_]) -> tuple[NDArray[Any], str]:
    """The bounding box of a mask, without the pixels outside the mask."""
    height, width = raw.shape[:2]
    if mask.shape != (height, width):
        ratio = mask.shape[1] * height / (mask.shape[0] * width)
        if abs(ratio - 1) > ASPECT_TOLERANCE:
            sizes = f'{mask.shape[1]}x{mask.shape[0]} for an image of {width}x{height}'
            return raw, f'the mask has another aspect ratio ({sizes})'
        scaled = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        mask = scaled.astype(bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return raw, 'the mask is empty'
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part, inside = raw[box].copy(), mask[box]
    is_colour = MODALITIES[modality].pixels == 'colour'
    part[~inside] = part[inside].mean(axis=0).round().astype(raw.dtype) if is_colour else 0
    return part, ''


def _nothing(raw: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((MIN_SIDE, MIN_SIDE, *raw.shape[2:]), raw.dtype)
