"""Slot for the newest message of one sensor: storing never blocks, and there is no queue."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Item = TypeVar('Item')


@dataclass(frozen=True, slots=True)
class Counters:
    """Numbers of messages of one sensor by outcome.

    Attributes:
        received: Messages that arrived.
        dropped: Replaced by a newer message before they were taken, or waiting at the end.
        capped: Replaced by a newer message while the sensor's rate limit held them back, or taken
            from a series together with a newer one, whose window contains them.
        stale: Too old on arrival or when they were taken.
        failed: Could not be decoded or encoded.
        encoded: Encoded into an embedding.
    """

    received: int = 0
    dropped: int = 0
    capped: int = 0
    stale: int = 0
    failed: int = 0
    encoded: int = 0


class NewestSlot(Generic[Item]):
    """Holds at most one item; a newer one replaces it, and the replaced one is counted."""

    def __init__(self, wake: threading.Condition) -> None:
        self._wake = wake
        self._item: Item | None = None
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """Snapshot of the counters."""
        with self._wake:
            return self._counters

    def put(self, item: Item, *, replaced: str = 'dropped', joined: int = 0) -> None:
        """Store the newest item and wake the worker; an older one is counted as `replaced`.

        Args:
            item: The newest item.
            replaced: `dropped` or `capped`.
            joined: Number of older messages that came with it; they are counted as capped.
        """
        with self._wake:
            outcomes = Counter({'received': 1 + joined, 'capped': joined})
            outcomes[replaced] += int(self._item is not None)
            self._item = item
            self._add(**outcomes)
            self._wake.notify_all()

    @property
    def waiting(self) -> Item | None:
        """The waiting item, which stays in the slot. Call with the condition held."""
        return self._item

    def take(self) -> Item | None:
        """Remove and return the item; None if there is none. Call with the condition held."""
        item, self._item = self._item, None
        return item

    def discard(self) -> None:
        """Drop the waiting item and count it as dropped. Call with the condition held."""
        if self.take() is not None:
            self._add(dropped=1)

    def refuse(self, outcome: str) -> None:
        """Count an item that arrived but is not stored, as `stale` or `failed`."""
        with self._wake:
            self._add(received=1, **{outcome: 1})

    def count(self, outcome: str) -> None:
        """Count one item as `stale`, `failed` or `encoded`."""
        with self._wake:
            self._add(**{outcome: 1})

    def _add(self, **changes: int) -> None:
        current = {name: getattr(self._counters, name) + by for name, by in changes.items()}
        self._counters = replace(self._counters, **current)
