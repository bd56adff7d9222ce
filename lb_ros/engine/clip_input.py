"""One camera's messages of the last seconds, from which clips are taken."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

DEFAULT_WINDOW_S = 2.0
# Of each of so many parts of the window the newest picture is kept: four for each of eight frames.
PARTS = 32


@dataclass(frozen=True, slots=True)
class Picture:
    """A message and when it was sensed."""

    message: Any
    stamp_ns: int


class ClipInput:
    """Keeps messages as they came: most are decoded late, or never. Safe for several threads.

    Attributes:
        length_s: Of the window.
    """

    def __init__(self, length_s: float = DEFAULT_WINDOW_S) -> None:
        if length_s <= 0:
            raise ValueError(f'length_s must be positive, not {length_s}')
        self.length_s = length_s
        self._pictures: list[Picture] = []
        self._lock = threading.Lock()

    def add(self, message: Any, *, stamp_ns: int) -> tuple[Picture, ...]:
        """Take a message; returns those of the window, which ends with it, in order."""
        first_ns, part_ns = stamp_ns - round(self.length_s * 1e9), self.length_s * 1e9 / PARTS
        with self._lock:
            kept = [p for p in self._pictures if first_ns <= p.stamp_ns < stamp_ns]
            if kept and kept[-1].stamp_ns // part_ns == stamp_ns // part_ns:
                kept.pop()
            self._pictures = [*kept, Picture(message, stamp_ns)]
            return tuple(self._pictures)

    def discard(self, picture: Picture) -> None:
        """Forget one that cannot be used."""
        with self._lock:
            self._pictures = [p for p in self._pictures if p is not picture]

    def forget(self) -> None:
        """Begin anew with the next message."""
        with self._lock:
            self._pictures = []
