"""The last seconds of audio, assembled from chunks by their stamps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_GAP_S = 0.05
# Arrival times of chunks without stamps vary with the load of the machine.
MAX_UNSTAMPED_GAP_S = 0.5
# The clock of the device is not that of the computer: follow the stamps slowly, so that drift
# does not appear as a gap.
FOLLOW_SHARE = 0.05
# Longest window for an audio encoder; longer than any encoder uses.
WINDOW_S = 2.5
# Windows end on this grid of their stream, at most one step before its newest sample. Audio
# encoders have this hop, so that frames common to two windows are computed once.
GRID_MS = 10


@dataclass(frozen=True, slots=True)
class Window:
    """`wave` `[channels, samples]`; `start_ns` is the time of its first sample.

    `first` is the number of that sample in its stream. Numbers continue when the stream restarts,
    so none is used twice.
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
        """The samples from number `start` to before `stop`, as far as available; a view."""
        skipped = max(0, start - self.first)
        wave = self.wave[:, skipped : stop - self.first]
        start_ns = self.start_ns + round(skipped * 1e9 / self.rate_hz)
        return Window(wave, self.rate_hz, start_ns, self.first + skipped)


class AudioWindow:
    """Keeps the newest `length_s` of a stream of chunks.

    A chunk that does not continue the last one (a gap, a jump back in time, another rate, sample
    type or number of channels) starts a new window, because audio from both sides of a gap must
    not be combined.

    Attributes:
        restarts: Number of new windows.
        why: Reason of the last one.
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
        """Add a chunk `[channels, samples]` that starts at `start_ns`; returns the window."""
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
        # A copy, because a view would keep the longer wave in memory.
        self._heard = kept if kept.first == first else replace(kept, wave=kept.wave.copy())
        return self._heard.part(kept.first, stop) if stop > kept.first else self._heard

    def until(self, end_ns: int, *, length_s: float | None = None) -> Window | None:
        """The window that `add` would have returned at an earlier time.

        Args:
            end_ns: End of the window.
            length_s: Length of the window; None for the usual one.

        Returns:
            The window, or None if no audio from before that time is kept.
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
        """Start a new window with the next chunk, without counting a restart."""
        self._heard = None


def _grid(rate_hz: int) -> int:
    """Samples in `GRID_MS`; 1 if that is not an integer."""
    samples, rest = divmod(rate_hz * GRID_MS, 1000)
    return samples if samples and not rest else 1


def _why_not(
    window: Window, wave: NDArray[Any], rate_hz: int, start_ns: int, stamped: bool
) -> str:
    """Why a chunk does not continue the window; empty if it does."""
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
