"""Columns of spectrograms of a stream of sound, each computed once.

The windows of a stream overlap: of a window of two seconds that comes every 100 ms, ten of two
hundred columns are new. A column depends on the samples below it alone, so the others are those of
the window before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]


class Columns(Protocol):
    """Where columns of the spectrogram of a wave come from."""

    def __call__(
        self, wave: Tensor, compute: Compute, *, size: int, hop: int, what: Hashable
    ) -> Tensor:
        """Columns float32 `[1 + (samples - size) // hop, bands]`.

        Args:
            wave: float32 `[samples]`, at least `size` of them, up to the end of the window.
            compute: Columns of any wave of at least `size` samples.
            size: Samples below one column.
            hop: Samples from one column to the next.
            what: Kind of column: those of another kind are others.
        """
        ...


def computed(wave: Tensor, compute: Compute, *, size: int, hop: int, what: Hashable) -> Tensor:
    """All of them computed; see `Columns`."""
    return compute(wave)


class ColumnStore:
    """The columns of the last window of one stream.

    Equal to `computed` but for the order in which sums are rounded. Not for several threads.
    """

    def __init__(self) -> None:
        self._what: Hashable = None
        self._first = 0
        self._kept = torch.zeros(0, 0)

    def until(self, end: int) -> Columns:
        """For a window that ends before sample number `end` of the stream.

        No two samples of the stream have the same number, also across gaps.
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
