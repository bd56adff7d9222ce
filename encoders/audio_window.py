"""The last seconds of sound, put together from chunks by their stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_GAP_S = 0.05
# What a sound encoder is given at most; longer than the stretch any of them uses.
WINDOW_S = 2.5


@dataclass(frozen=True, slots=True)
class Window:
    """`wave` `[channels, samples]`; `start_ns` is the time of its first sample."""

    wave: NDArray[Any]
    rate_hz: int
    start_ns: int


class AudioWindow:
    """Keeps the newest `length_s` of a stream of chunks.

    A chunk that does not follow on the last one (a gap, a jump back in time, another rate or
    number of channels) starts anew: sound from two sides of a gap must not be heard as one.
    """

    def __init__(self, length_s: float) -> None:
        if length_s <= 0:
            raise ValueError(f'length_s must be positive, not {length_s}')
        self._length_s = length_s
        self._window: Window | None = None
        self.restarts = 0

    def add(self, wave: NDArray[Any], *, rate_hz: int, start_ns: int) -> Window:
        """Add a chunk `[channels, samples]` from `start_ns` on; returns the window so far."""
        window = self._window
        if window is not None and self._follows(window, wave, rate_hz, start_ns):
            wave = np.concatenate([window.wave, wave], axis=1)
            start_ns = window.start_ns
        elif window is not None:
            self.restarts += 1
        extra = wave.shape[1] - round(self._length_s * rate_hz)
        if extra > 0:
            wave = wave[:, extra:]
            start_ns += round(extra * 1e9 / rate_hz)
        self._window = Window(wave, rate_hz, start_ns)
        return self._window

    @staticmethod
    def _follows(window: Window, wave: NDArray[Any], rate_hz: int, start_ns: int) -> bool:
        same = window.rate_hz == rate_hz and len(window.wave) == len(wave)
        end_ns = window.start_ns + window.wave.shape[1] * 1e9 / window.rate_hz
        return same and abs(start_ns - end_ns) <= MAX_GAP_S * 1e9
