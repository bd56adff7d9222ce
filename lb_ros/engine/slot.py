"""A place for the newest message of one sensor: storing never waits, and nothing queues up."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Item = TypeVar('Item')


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of the messages of one sensor.

    Attributes:
        received: Arrived.
        dropped: Replaced by a newer one before they were looked at, or waiting at the end.
        capped: Replaced by a newer one while the sensor's rate limit did not let them go.
        stale: Too old, when they came or when they were looked at.
        failed: Could not be decoded or encoded.
        encoded: Became an embedding.
    """

    received: int = 0
    dropped: int = 0
    capped: int = 0
    stale: int = 0
    failed: int = 0
    encoded: int = 0


class NewestSlot(Generic[Item]):
    """Holds at most one item; a newer one replaces it and the older one is counted."""

    def __init__(self, wake: threading.Condition) -> None:
        self._wake = wake
        self._item: Item | None = None
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """A snapshot."""
        with self._wake:
            return self._counters

    def put(self, item: Item, *, replaced: str = 'dropped') -> None:
        """Store the newest item and wake the worker; the one before counts as `replaced`."""
        with self._wake:
            lost = int(self._item is not None)
            self._item = item
            self._add(received=1, **{replaced: lost})
            self._wake.notify_all()

    @property
    def waiting(self) -> Item | None:
        """The newest item without taking it. Call with the condition held."""
        return self._item

    def take(self) -> Item | None:
        """The newest item, once; None where there is none. Call with the condition held."""
        item, self._item = self._item, None
        return item

    def discard(self) -> None:
        """Drop the waiting item and count it as dropped. Call with the condition held."""
        if self.take() is not None:
            self._add(dropped=1)

    def refuse(self, outcome: str) -> None:
        """Count an item that came but is not stored, as `stale` or `failed`."""
        with self._wake:
            self._add(received=1, **{outcome: 1})

    def count(self, outcome: str) -> None:
        """Count one item as `stale`, `failed` or `encoded`."""
        with self._wake:
            self._add(**{outcome: 1})

    def _add(self, **changes: int) -> None:
        current = {name: getattr(self._counters, name) + by for name, by in changes.items()}
        self._counters = replace(self._counters, **current)
