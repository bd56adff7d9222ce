"""RVL, lossless compression of depth images.

Wilson 2017, "Fast lossless depth image compression". Numbers are coded in nibbles of three bits
and a continuation bit, eight per 32-bit word. An image consists of runs of zeros and runs of
differences to the previous value.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError

# Enough for a zigzag-coded difference of 16-bit values and for a run of the largest image.
MAX_NIBBLES = 10


def decode_rvl(raw: bytes, *, max_pixels: int) -> NDArray[np.uint16]:
    """Decode uint16 `[rows, columns]` from the size (two uint32) and the code.

    Raises:
        DecodeError: The size is impossible, or the code ends early or overflows.
    """
    if len(raw) < 8:
        raise DecodeError('rvl: no room for the size', fault='size')
    columns, rows = struct.unpack('<II', raw[:8])
    if not 0 < columns * rows <= max_pixels:
        raise DecodeError(f'rvl: impossible size {columns}x{rows}', fault='size')
    words = np.frombuffer(raw[8 : 8 + (len(raw) - 8) // 4 * 4], '<u4')
    # A pixel takes at most six nibbles, and a run of one two more; the rest is ignored.
    words = words[: columns * rows + 2]
    shifts = np.arange(28, -4, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).astype(np.uint8).ravel()
    numbers = _numbers(nibbles)
    return _pixels(numbers, columns * rows).reshape(rows, columns)


def _numbers(nibbles: NDArray[np.uint8]) -> NDArray[np.int64]:
    """All complete numbers of the code; int64 `[n]`."""
    ends = np.flatnonzero(nibbles < 8)
    if not ends.size:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    # Overlong numbers are damaged; they become -1 and are refused when used.
    place = np.minimum(np.arange(ends[-1] + 1) - np.repeat(starts, lengths), MAX_NIBBLES)
    parts = (nibbles[: ends[-1] + 1] & 7).astype(np.int64) << (3 * place)
    numbers = np.add.reduceat(parts, starts)
    numbers[lengths > MAX_NIBBLES] = -1
    return numbers


def _pixels(numbers: NDArray[np.int64], count: int) -> NDArray[np.uint16]:
    zigzag = np.where(numbers & 1, -(numbers >> 1) - 1, numbers >> 1)
    pixels = np.zeros(count, np.uint16)
    at = cursor = previous = 0
    while at < count:
        if cursor + 2 > len(numbers):
            raise DecodeError('rvl: the data end too early', fault='size')
        zeros, values = int(numbers[cursor]), int(numbers[cursor + 1])
        cursor += 2
        at += zeros
        if zeros < 0 or values < 0 or at + values > count or cursor + values > len(numbers):
            raise DecodeError('rvl: a run is longer than the picture or the data', fault='size')
        if values:
            run = previous + np.cumsum(zigzag[cursor : cursor + values])
            pixels[at : at + values] = run & 0xFFFF
            previous = int(run[-1]) & 0xFFFF
            at += values
            cursor += values
        elif not zeros:  # no encoder writes empty runs, but a message could consist of them
            raise DecodeError('rvl: an empty run', fault='size')
    return pixels
