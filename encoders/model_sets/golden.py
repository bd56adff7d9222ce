"""Inputs that are equal on every machine, to verify the vectors of a model set."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.modalities import MODALITIES

SENTENCE = 'a drawer that is open'
TOLERANCE = 1e-4


def golden_input(modality: str) -> Any:
    """A raw sample, computed from integers only."""
    rows, columns = np.mgrid[0:240, 0:320]
    pattern = (rows * 7 + columns * 3 + rows * columns // 11) % 256
    kind, pixels = MODALITIES[modality].kind, MODALITIES[modality].pixels
    if pixels == 'depth':
        return (500 + pattern * 15 + rows * 4).astype(np.uint16)
    if pixels == 'infrared':
        return pattern.astype(np.uint8)
    if kind == 'sound':
        count = np.arange(48_000, dtype=np.int64)
        wave = (count * count // 97 + count * 31) % 12_000 - 6_000
        return wave.astype(np.int16), 16_000
    colours = np.stack([pattern, (pattern * 2) % 256, 255 - pattern], axis=-1).astype(np.uint8)
    if kind == 'clip':
        return np.stack([np.roll(colours, 5 * t, axis=1) for t in range(12)])
    return colours
