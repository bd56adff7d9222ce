"""The last seconds of sound, put together from chunks by their stamps."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
# Windows end on this grid of their stream, at most so much before its newest sample: every sound
# encoder hears in steps of it, and a step that two windows have in common is computed once.
GRID_MS = 10


@dataclass(frozen=True, slots=True)
class Window:
    """`wave` `[channels, samples]`; `start_ns` is the time of its first sample.

    `first` is the number of that sample in its stream. Numbers go on where the stream starts anew:
    none is used twice.
    """

    wave: NDArray[Any]
    rate_hz: int
    start_ns: int
    first: int = 0

    @property
    def end_ns(self) -> int:
        """Time after the last sample."""
        duration_ns: int = round(self.wave.shape[1] * 1e9 / self.rate_hz)
        return self.start_ns + duration_ns

    @property
    def end(self) -> int:
        """Number of the sample after the last one."""
        return self.first + int(self.wave.shape[1])

    def part(self, start: int, stop: int) -> Window:
        """Its samples from number `start` to before `stop`, as far as it has them; a view."""
        skipped = max(0, start - self.first)
        wave = self.wave[:, skipped : stop - self.first]
        start_ns = self.start_ns + round(skipped * 1e9 / self.rate_hz)
        return Window(wave, self.rate_hz, start_ns, self.first + skipped)


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
        self._heard: Window | None = None
        self._unused = 0
        self.restarts = 0
        self.why = ''

    def add(
        self, wave: NDArray[Any], *, rate_hz: int, start_ns: int, stamped: bool = True
    ) -> Window:
        """Add a chunk `[channels, samples]` from `start_ns` on; returns the window so far."""
        heard, step = self._heard, _grid(rate_hz)
        why = '' if heard is None else _why_not(heard, wave, rate_hz, start_ns, stamped)
        first = -(-self._unused // step) * step
        if heard is not None and not why:
            off_ns = start_ns - heard.end_ns
            start_ns = heard.start_ns + round(FOLLOW_SHARE * off_ns)
            wave, first = np.concatenate([heard.wave, wave], axis=1), heard.first
        elif heard is not None:
            self.restarts += 1
            self.why = why
        heard = Window(wave, rate_hz, start_ns, first)
        self._unused = heard.end
        stop = heard.end - heard.end % step
        kept = heard.part(stop - round(self._length_s * rate_hz), heard.end)
        # A copy: a view would keep the longer wave alive.
        self._heard = kept if kept.first == first else replace(kept, wave=kept.wave.copy())
        return self._heard.part(kept.first, stop) if stop > kept.first else self._heard

    def until(self, end_ns: int, *, length_s: float | None = None) -> Window | None:
        """The window that `add` would have returned at a moment of the sound that is kept.

        Args:
            end_ns: The moment.
            length_s: Of the window; the usual one where None.

        Returns:
            None where no sound is kept from before that moment.
        """
        heard = self._heard
        if heard is None:
            return None
        elapsed = round((end_ns - heard.start_ns) * 1e-9 * heard.rate_hz)
        stop = min(heard.first + elapsed, heard.end)
        stop -= stop % _grid(heard.rate_hz)
        if stop <= heard.first:
            return None
        length = round((self._length_s if length_s is None else length_s) * heard.rate_hz)
        return heard.part(stop - length, stop)

    def forget(self) -> None:
        """Begin anew with the next chunk, without calling it a gap."""
        self._heard = None


def _grid(rate_hz: int) -> int:
    """Samples of `GRID_MS`; 1 where that is no whole number."""
    samples, rest = divmod(rate_hz * GRID_MS, 1000)
    return samples if samples and not rest else 1


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
