"""Counts of repeated events, and throttling of log lines about them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

Clock = Callable[[], float]

LOG_PERIOD_S = 10.0


class Throttle:
    """Allows one line per kind in `LOG_PERIOD_S`; the next gives the number of omitted events.

    Args:
        clock: Returns monotonic seconds.

    Attributes:
        counts: Number of events of each kind.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}

    def note(self, kind: str) -> str | None:
        """Count an event; return the end of its log line, or None if no line is due."""
        self.counts[kind] += 1
        now_s = self._clock()
        logged_s, count = self._logged.get(kind, (-math.inf, 0))
        if now_s - logged_s < LOG_PERIOD_S:
            return None
        more = self.counts[kind] - count - 1
        self._logged[kind] = (now_s, self.counts[kind])
        return f' ({more} more of the kind since the last line)' if more and count else ''
