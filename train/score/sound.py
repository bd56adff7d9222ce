"""The level of a microphone over time."""

from __future__ import annotations

import numpy as np

from train.score.windows import Window

FLOOR_DBFS = -120.0


class Loudness:
    """The level of the new part of each window of one microphone, as windows overlap."""

    def __init__(self) -> None:
        self._heard_ns: int | None = None

    def of(self, window: Window) -> float:
        """Root mean square since the last window, dB of full scale, at least -120."""
        wave, rate_hz = window.source
        heard_ns = window.start_ns if self._heard_ns is None else self._heard_ns
        new = round((window.stamp_ns - heard_ns) * 1e-9 * rate_hz)
        self._heard_ns = window.stamp_ns
        samples = np.atleast_2d(wave)[:, -min(max(new, 1), np.shape(wave)[-1]) :]
        scale = 32768.0 if samples.dtype == np.int16 else 1.0
        power = float(np.mean((samples.astype(np.float64) / scale) ** 2))
        return float(max(10 * np.log10(power + 1e-30), FLOOR_DBFS))
