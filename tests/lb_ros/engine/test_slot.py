"""The newest message wins, nothing queues, and every message is accounted for."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from lb_ros.engine.slot import NewestSlot


@given(st.lists(st.booleans(), max_size=60))
def test_taking_gives_the_newest_and_the_counters_add_up(puts: list[bool]) -> None:
    wake = threading.Condition()
    slot: NewestSlot[int] = NewestSlot(wake)
    newest, taken = None, 0
    for number, is_put in enumerate(puts):
        if is_put:
            slot.put(number)
            newest = number
            continue
        with wake:
            assert slot.take() == newest
        taken += newest is not None
        newest = None
    counters = slot.counters
    assert counters.received == sum(puts)
    assert counters.received == taken + counters.dropped + (newest is not None)


def test_outcomes_are_counted() -> None:
    slot: NewestSlot[int] = NewestSlot(threading.Condition())
    for outcome in ('stale', 'failed', 'encoded', 'encoded'):
        slot.count(outcome)
    counters = slot.counters
    assert (counters.stale, counters.failed, counters.encoded) == (1, 1, 2)
