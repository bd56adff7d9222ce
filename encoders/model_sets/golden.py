"""Inputs that are equal on every machine, to verify the vectors of a model set."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.decode.series import Series
from encoders.modalities import MODALITIES
from encoders.preprocess import Config, mini_config

SENTENCE = 'a drawer that is open'
TOLERANCE = 1e-4


def golden_input(modality: str, config: Config | None = None) -> Any:
    """A raw sample, computed from integers only.

    Args:
        modality: Modality of the sample.
        config: Preprocessing that names the channels of a series; None for the default ones.
    """
    if MODALITIES[modality].kind == 'series':
        return _series(config or mini_config(modality, {}))
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


def _series(config: Config) -> Series:
    """Two seconds at 125 Hz."""
    channels: tuple[str, ...] = getattr(config, 'channels', ())
    count = np.arange(250, dtype=np.int64)[:, None]
    column = np.arange(len(channels), dtype=np.int64)
    values = ((count * count // 13 + count * (7 + column * 3)) % 512 - 256) / 64
    return Series(values, (count[:, 0] - 249) / 125, channels, baseline=column / 8)
