"""Detects images that decode without errors but show nothing: wrong units, black, mosaics.

As in `encoders.decode.temperature`, each sample is judged alone, so that live nodes and offline
programs agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.temperature import Objection

MIN_MEDIAN_M, MAX_MEDIAN_M = 0.03, 150.0
SAMPLE_STEP = 4  # every fourth row and column are enough for statistics
DARK = 1  # of 255: values 0..1 that were converted to bytes without scaling
MOSAIC_CROP = 128
# In a mosaic, adjacent pixels differ by their colour filter more than pixels at distance two. In
# any other image it is the other way round.
MOSAIC_RATIO, MOSAIC_LEVELS = 1.5, 4.0


def content_objection(modality: str, raw: Any) -> Objection | None:
    """Return why a decoded sample is no evidence for predicates with any encoder, or None.

    Args:
        modality: Modality of the sample.
        raw: Result of `decode_image`; other kinds of samples are not judged.
    """
    if modality == 'depth':
        return depth_objection(raw)
    if modality in ('image', 'touch'):
        return picture_objection(raw)
    return None


def measured(raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels of depth or infrared `[H, W]` are measurements: neither 0, NaN nor infinite."""
    valid = raw > 0
    if raw.dtype.kind == 'f':
        valid &= np.isfinite(raw)
    return valid


def depth_objection(raw: NDArray[Any]) -> Objection | None:
    """Return an objection to depth `[H, W]` with an impossible unit (millimetres or metres)."""
    valid = measured(raw)
    some, alive = raw[::SAMPLE_STEP, ::SAMPLE_STEP], valid[::SAMPLE_STEP, ::SAMPLE_STEP]
    if not alive.any():
        some, alive = raw, valid
    if not alive.any():
        return None  # an image without a valid pixel is not encoded
    metres = float(np.median(some[alive])) * (1e-3 if raw.dtype == np.uint16 else 1.0)
    if MIN_MEDIAN_M <= metres <= MAX_MEDIAN_M:
        return None
    remedy = (
        '16UC1 must be millimetres, are these metres?'
        if raw.dtype == np.uint16
        else '32FC1 must be metres, are these millimetres?'
    )
    return Objection('unit', f'the unit is suspicious (median depth {metres:.4g} m)', remedy)


def picture_objection(raw: NDArray[Any]) -> Objection | None:
    """Return an objection to a colour image, uint8 `[H, W, 3]`, that shows nothing."""
    if raw.ndim != 3 or raw.dtype != np.uint8 or not raw.size:
        return None
    if 0 < int(raw[::SAMPLE_STEP, ::SAMPLE_STEP].max()) <= DARK and int(raw.max()) <= DARK:
        return Objection(
            'range',
            f'black picture (brightest {int(raw.max())} of 255)',
            'have the driver publish the full range of 8 bits, or turn the light on',
        )
    if _is_mosaic(raw):
        return Objection(
            'mosaic',
            'Bayer mosaic sent as grey',
            'have the driver debayer it, or name the pattern in the encoding (bayer_rggb8)',
        )
    return None


def _is_mosaic(raw: NDArray[np.uint8]) -> bool:
    height, width = raw.shape[:2]
    top, left = max(0, (height - MOSAIC_CROP) // 2), max(0, (width - MOSAIC_CROP) // 2)
    crop = raw[top : top + MOSAIC_CROP, left : left + MOSAIC_CROP]
    if min(crop.shape[:2]) < 8 or (crop[..., :2] != crop[..., 2:]).any():
        return False
    grey = crop[..., 0].astype(np.int16)
    return all(_alternates(plane) for plane in (grey, grey.T))


def _alternates(plane: NDArray[np.int16]) -> bool:
    near = float(np.abs(plane[:, 1:] - plane[:, :-1]).mean())
    next_but_one = float(np.abs(plane[:, 2:] - plane[:, :-2]).mean())
    return near > MOSAIC_LEVELS and near > MOSAIC_RATIO * next_but_one
