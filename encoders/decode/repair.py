"""Correction of wrong message fields that leave only one plausible interpretation.

Each function appends one line to `notes` for each correction, and changes nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CROP = 128  # rows and columns that suffice to detect the byte order
ROUGHER = 8.0  # ratio of roughness between byte orders above which the order is wrong
FEW, MOST = 0.2, 0.8
MIN_FLOAT, MAX_FLOAT = 1e-4, 1e6  # range of plausible kelvin and metres
# Depth in whole numbers with at least this median is neither metres nor centimetres of a room.
MIN_WHOLE_MEDIAN, MIN_WHOLE_SPAN = 500.0, 3.0
NARROW_BITS = (8, 10, 12)
BYTE_BITS = 8
MIN_TOP = 16  # with a lens cap on, the image is darker


def row_step(step: int, *, row: int, rows: int, count: int, notes: list[str]) -> int:
    """Return the bytes per row: without padding if the message holds exactly these bytes."""
    if step == row or count != row * rows:
        return step
    notes.append(f'step {step} does not fit {count} bytes; read as {row} bytes a row')
    return row


def byte_order(array: Array, *, flag: int, notes: list[str]) -> Array:
    """Swap the bytes of an array if the flag of their order is evidently wrong.

    In the wrong order, the low byte dominates, and adjacent pixels are unrelated.

    Args:
        array: `[H, W]` or `[H, W, channels]`, read in the order of the flag.
        flag: `is_bigendian` of the message.
        notes: Receives a line for a correction.
    """
    if array.itemsize == 1:
        return array
    height, width = array.shape[:2]
    top, left = max(0, (height - CROP) // 2), max(0, (width - CROP) // 2)
    crop = array[top : top + CROP, left : left + CROP]
    other = crop.byteswap()
    wrong = _is_rougher(crop, other) if array.dtype.kind == 'u' else _is_absurd(crop, other)
    if not wrong:
        return array
    notes.append(f'is_bigendian {flag} is wrong for these bytes; read in the other order')
    return array.byteswap()


def _is_rougher(crop: Array, other: Array) -> bool:
    if not (crop & 0xFF).any():  # 8 bits, shifted: smooth in either order
        return False
    found, swapped = _roughness(crop), _roughness(other)
    return found > ROUGHER * swapped and found > 0xFF


def _roughness(plane: Array) -> float:
    """Mean difference of valid pixels at distance two, which have equal colour in a mosaic."""
    wide = plane.astype(np.int32)
    valid = (wide[:, 2:] > 0) & (wide[:, :-2] > 0)
    steps = np.abs(wide[:, 2:] - wide[:, :-2])[valid]
    return float(steps.mean()) if steps.size else 0.0


def _is_absurd(crop: Array, other: Array) -> bool:
    return _plausible(crop) < FEW and _plausible(other) > MOST


def _plausible(plane: Array) -> float:
    with np.errstate(invalid='ignore'):
        size = np.abs(plane)
        fine = ((size >= MIN_FLOAT) & (size <= MAX_FLOAT)) | (size == 0)
    return float(fine.mean()) if plane.any() else 0.0


def depth_unit(array: Array, notes: list[str]) -> Array:
    """Return float depth in metres; whole numbers that cannot be metres are millimetres."""
    if array.dtype.kind != 'f':
        return array
    some = array[::4, ::4]
    alive = some[np.isfinite(some) & (some > 0)]
    if not alive.size or (alive != np.round(alive)).any():
        return array
    median = float(np.median(alive))
    if median < MIN_WHOLE_MEDIAN or float(np.ptp(alive)) < MIN_WHOLE_SPAN:
        return array
    notes.append(
        f'float depth in whole numbers (median {median:.0f}) is millimetres; read as such'
    )
    metres: Array = array * array.dtype.type(1e-3)
    return metres


def to_bytes(array: Array, notes: list[str]) -> NDArray[np.uint8]:
    """Convert 16-bit colour or grey to 8 bits; values of 8, 10 or 12 bits use the full range."""
    top = int(array.max()) if array.size else 0
    for bits in NARROW_BITS:
        if MIN_TOP <= top < 1 << bits:
            notes.append(f'16-bit picture of {bits} bits (brightest {top}); read as {bits} bits')
            return (array >> (bits - BYTE_BITS)).astype(np.uint8)
    return (array >> BYTE_BITS).astype(np.uint8)
