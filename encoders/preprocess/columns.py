"""Spectrogram frames of an audio stream, each computed once.

The windows of a stream overlap: if a window of two seconds is encoded every 100 ms, only ten of
two hundred spectrogram frames are new. A frame depends only on its own samples, so the others are
taken from the previous window.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]


class Columns(Protocol):
    """Source of the spectrogram frames of a wave."""

    def __call__(
        self, wave: Tensor, compute: Compute, *, size: int, hop: int, what: Hashable
    ) -> Tensor:
        """Spectrogram frames float32 `[1 + (samples - size) // hop, bands]`.

        Args:
            wave: float32 `[samples]`, at least `size` samples, up to the end of the window.
            compute: Computes the frames of any wave of at least `size` samples.
            size: Samples of one frame.
            hop: Samples from one frame to the next.
            what: Identity of the computation; only frames with the same identity are reused.
        """
        ...


def computed(wave: Tensor, compute: Compute, *, size: int, hop: int, what: Hashable) -> Tensor:
    """Compute all spectrogram frames; see `Columns`."""
    return compute(wave)


class ColumnStore:
    """Cache of the spectrogram frames of the last window of one stream.

    Results equal those of `computed` up to rounding. Not thread-safe.
    """

    def __init__(self) -> None:
        self._what: Hashable = None
        self._first = 0
        self._kept = torch.zeros(0, 0)

    def until(self, end: int) -> Columns:
        """Spectrogram frames of the window that ends before sample number `end` of the stream.

        Sample numbers are unique in the stream, also across gaps.
        """
        return partial(self._columns, end=end)

    def _columns(
        self, wave: Tensor, compute: Compute, *, size: int, hop: int, what: Hashable, end: int
    ) -> Tensor:
        first, count = end - len(wave), 1 + (len(wave) - size) // hop
        what = (what, wave.device)
        skipped, off = divmod(first - self._first, hop)
        known = self._kept[:0]
        if what == self._what and not off and skipped >= 0:
            known = self._kept[skipped : skipped + count]
        if not len(known):
            columns = compute(wave)
        elif len(known) < count:
            columns = torch.cat([known, compute(wave[len(known) * hop :])])
        else:
            columns = known
        self._what, self._first, self._kept = what, first, columns
        return columns
