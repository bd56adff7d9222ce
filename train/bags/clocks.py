"""One clock for all stamps of a bag, despite sensors that stamp since boot, not at all, or badly.

Stamps are compared with recording times. If the offset of a topic's stamps differs from that of
the other topics, its messages are placed by recording time on the clock of the other topics.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median_low

from train.bags.storage import Problem

# Stamps that differ from the others by more than this belong to another clock.
OTHER_CLOCK_NS = 60_000_000_000
# More than the delay of any sensor or the pause of any recorder.
DAY_NS = 86_400_000_000_000
UNITS = (('years', 365.25 * 86_400), ('days', 86_400.0), ('hours', 3_600.0), ('seconds', 1.0))


class Clocks:
    """Estimates for each message when it was sensed.

    Call `observe` for some first messages, then `settle` once, then `place` for all in order.

    Attributes:
        reference_ns: Offset between the clock of most stamps and the recorder's clock; 0 if they
            are the same.
    """

    def __init__(self) -> None:
        self.reference_ns = 0
        self._offsets: dict[str, list[int]] = {}
        self._logs: list[int] = []
        self._others: dict[str, int] = {}
        self._known: set[str] = set()
        self._last_log_ns: int | None = None
        self._odd_log_ns: int | None = None

    def observe(self, topic: str, stamp_ns: int | None, log_ns: int) -> None:
        """Observe a message before the decision; `stamp_ns` is None if it has no stamp."""
        self._logs.append(log_ns)
        if stamp_ns is not None:
            self._offsets.setdefault(topic, []).append(stamp_ns - log_ns)

    def settle(self) -> None:
        """Choose the clock of the bag: the one that most topics use."""
        self._last_log_ns = median_low(self._logs) if self._logs else None
        offsets = {topic: median_low(found) for topic, found in self._offsets.items()}

        def votes(offset_ns: int) -> tuple[int, int]:
            near = sum(abs(other - offset_ns) <= OTHER_CLOCK_NS for other in offsets.values())
            return near, -abs(offset_ns)

        best = max(offsets.values(), key=votes, default=0)
        self.reference_ns = best if abs(best) > OTHER_CLOCK_NS else 0
        self._known = set(offsets)
        for topic, offset in offsets.items():
            if abs(offset - self.reference_ns) > OTHER_CLOCK_NS:
                self._others[topic] = 0

    def place(
        self, topic: str, stamp_ns: int | None, log_ns: int, *, problem: Problem
    ) -> tuple[int, bool]:
        """When a message was sensed, and whether that was derived from its recording time.

        Args:
            topic: Topic of the message.
            stamp_ns: Stamp by the sender; None if there is none.
            log_ns: Recording time.
            problem: Called once for each topic that uses another clock.
        """
        recorded_ns, is_sure = self._recorded(stamp_ns, log_ns)
        if not is_sure and stamp_ns is not None and topic not in self._others:
            return stamp_ns, False
        aligned_ns = recorded_ns + self.reference_ns
        if stamp_ns is None:
            return aligned_ns, self.reference_ns != 0
        off_ns = stamp_ns - aligned_ns
        new = topic not in self._known and abs(off_ns) > OTHER_CLOCK_NS
        self._known.add(topic)
        if topic not in self._others and not new and abs(off_ns) <= DAY_NS:
            return stamp_ns, False
        self._others[topic] = self._others.get(topic, 0) + 1
        if self._others[topic] == 2:  # one alone is a latched message
            problem(f'topic {topic}: {_described(off_ns)}; aligned by its times of recording')
        return aligned_ns, True

    def _recorded(self, stamp_ns: int | None, log_ns: int) -> tuple[int, bool]:
        """When a message was recorded, and whether its own recording time was used.

        A recording time days away from the earlier ones is used only if the stamps jumped with it,
        which means that the clock was set. Otherwise the last accepted time is continued.
        """
        if self._last_log_ns is None:
            self._last_log_ns = log_ns
        is_near = abs(log_ns - self._last_log_ns) <= DAY_NS
        if stamp_ns is not None:
            is_near |= abs(stamp_ns - log_ns - self.reference_ns) <= OTHER_CLOCK_NS
        if is_near or not self._offsets:
            self._last_log_ns, self._odd_log_ns = log_ns, None
            return log_ns, True
        if self._odd_log_ns is None:
            self._odd_log_ns = log_ns
        return self._last_log_ns + max(0, log_ns - self._odd_log_ns), False


def _described(off_ns: int) -> str:
    seconds = abs(off_ns) * 1e-9
    unit, size = next((u, s) for u, s in UNITS if seconds >= 2 * s or s == 1.0)
    where = 'behind' if off_ns < 0 else 'ahead of'
    hint = ', as since boot' if off_ns < -DAY_NS else ''
    return f'its stamps are {seconds / size:.0f} {unit} {where} the others (another clock{hint})'


def without_pauses_s(times_ns: Iterator[int]) -> float:
    """Seconds that ordered times span, without steps of over a day, where the clock was set."""
    total_ns, last_ns = 0, None
    for time_ns in times_ns:
        if last_ns is not None and 0 < time_ns - last_ns <= DAY_NS:
            total_ns += time_ns - last_ns
        last_ns = time_ns
    return total_ns * 1e-9
