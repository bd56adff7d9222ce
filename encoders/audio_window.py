"""The last seconds of sound, put together from chunks by their stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_GAP_S = 0.05
# Arrival times of chunks without stamps jitter with the load of the machine.
MAX_UNSTAMPED_GAP_S = 0.5
# The device's clock is not the computer's: follow the stamps slowly, so that drift is no gap.
FOLLOW_SHARE = 0.05
# What a sound encoder is given at most; longer than the stretch any of them uses.
WINDOW_S = 2.5


@dataclass(frozen=True, slots=True)
class Window:
    """`wave` `[channels, samples]`; `start_ns` is the time of its first sample."""

    wave: NDArray[Any]
    rate_hz: int
    start_ns: int

    @property
    def end_ns(self) -> int:
        """Time after the last sample."""
        duration_ns: int = round(self.wave.shape[1] * 1e9 / self.rate_hz)
        return self.start_ns + duration_ns


class AudioWindow:
    """Keeps the newest `length_s` of a stream of chunks.

    A chunk that does not follow on the last one (a gap, a jump back in time, another rate, kind of
    sample or number of channels) starts anew: sound from two sides of a gap must not be heard as
    one.

    Attributes:
        restarts: How often that happened.
        why: The reason of the last time.
    """

    def __init__(self, length_s: float) -> None:
        if length_s <= 0:
            raise ValueError(f'length_s must be positive, not {length_s}')
        self._length_s = length_s
        self._window: Window | None = None
        self.restarts = 0
        self.why = ''

    def add(
        self, wave: NDArray[Any], *, rate_hz: int, start_ns: int, stamped: bool = True
    ) -> Window:
        """Add a chunk `[channels, samples]` from `start_ns` on; returns the window so far."""
        window = self._window
        why = '' if window is None else _why_not(window, wave, rate_hz, start_ns, stamped)
        if window is not None and not why:
            off_ns = start_ns - window.end_ns
            start_ns = window.start_ns + round(FOLLOW_SHARE * off_ns)
            wave = np.concatenate([window.wave, wave], axis=1)
        elif window is not None:
            self.restarts += 1
            self.why = why
        extra = wave.shape[1] - round(self._length_s * rate_hz)
        if extra > 0:
            # A copy: a view would keep the longer wave alive.
            wave = wave[:, extra:].copy()
            start_ns += round(extra * 1e9 / rate_hz)
        self._window = Window(wave, rate_hz, start_ns)
        return self._window


def _why_not(
    window: Window, wave: NDArray[Any], rate_hz: int, start_ns: int, stamped: bool
) -> str:
    """Why a chunk does not follow; empty where it does."""
    if window.rate_hz != rate_hz:
        return f'the rate changed from {window.rate_hz} to {rate_hz} Hz'
    if len(window.wave) != len(wave):
        return f'the channels changed from {len(window.wave)} to {len(wave)}'
    if window.wave.dtype != wave.dtype:
        return f'the samples changed from {window.wave.dtype} to {wave.dtype}'
    off_s = (start_ns - window.end_ns) * 1e-9
    if abs(off_s) > (MAX_GAP_S if stamped else MAX_UNSTAMPED_GAP_S):
        return (
            f'{off_s * 1e3:.0f} ms of sound are missing'
            if off_s > 0
            else (f'the sound goes {-off_s * 1e3:.0f} ms back')
        )
    return ''
