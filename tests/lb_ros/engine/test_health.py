"""Counting and throttling without ROS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb_ros.engine.health import FAULTS, HOLD_S, Expectation, InputHealth, Level
from lb_ros.engine.slot import Counters
from lb_ros.engine.stamp_check import StampCheck
from lb_ros.engine.throttle import LOG_PERIOD_S


class Rig:
    def __init__(self, **expectation: float) -> None:
        self.now_s, self.told = 1000.0, list[str]()
        self.health = InputHealth(
            'depth', topic='/depth/image', log=self.told.append,
            expectation=Expectation(**expectation), clock=lambda: self.now_s,
        )  # fmt: skip

    def status(self):
        return self.health.status(Counters(), why_silent=lambda: 'no publisher')


@given(st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.floats(0, 3)), max_size=80))
def test_every_fault_is_counted_and_none_is_logged_twice_within_the_period(
    faults: list[tuple[str, float]],
) -> None:
    rig = Rig()
    said: dict[str, float] = {}
    for fault, pause_s in faults:
        rig.now_s += pause_s
        lines = len(rig.told)
        rig.health.note(fault, f'<{fault}>')
        if len(rig.told) > lines:
            assert rig.now_s - said.get(fault, -1e9) >= LOG_PERIOD_S
            said[fault] = rig.now_s
            assert f'depth: topic /depth/image: <{fault}>' in rig.told[-1]
    assert sum(rig.health.faults.values()) == len(faults)
    assert set(said) == {fault for fault, _ in faults}


def test_a_line_says_how_many_it_stands_for() -> None:
    rig = Rig()
    for _ in range(5):
        rig.health.note('encoding', 'x')
    rig.now_s += LOG_PERIOD_S
    rig.health.note('encoding', 'x')
    assert '(4 more of the kind since the last line)' in rig.told[-1]


def test_an_unknown_kind_of_fault_is_a_mistake() -> None:
    with pytest.raises(KeyError, match='meteor'):
        Rig().health.note('meteor', 'x')


def test_levels_follow_what_happens() -> None:
    rig = Rig(silent_after_s=2.0)
    rig.health.arrived(stamp_ns=0, now_ns=5_000_000)
    assert rig.status().level is Level.OK
    assert rig.status().values['current_delay_from_realtime_ms'] == '5.000'
    rig.health.note('size', 'short')
    assert rig.status().level is Level.WARN
    rig.health.note('shed', 'gone')
    assert rig.status().level is Level.ERROR
    rig.now_s += HOLD_S + 1
    status = rig.status()
    assert status.level is Level.STALE
    assert 'no publisher' in status.message


def test_rates_are_of_arrivals_and_of_stamps() -> None:
    rig = Rig(rate_hz=10.0, silent_after_s=100.0)
    for k in range(30):
        rig.now_s += 0.1
        rig.health.arrived(stamp_ns=k * 50_000_000, now_ns=0)
    values = rig.status().values
    assert float(values['frame_rate_node']) == pytest.approx(10, rel=1e-3)
    assert float(values['frame_rate_msg']) == pytest.approx(20, rel=1e-3)
    assert rig.status().level is Level.OK


S_NS = 10**9


@given(st.lists(st.integers(-3 * S_NS, 3 * S_NS), min_size=1, max_size=50))
def test_no_usable_stamp_is_old_or_far_ahead(offsets: list[int]) -> None:
    check = StampCheck(max_future_ms=250)
    now_ns, last = 1_700_000_000 * S_NS, 0
    for offset in offsets:
        found = check.check(now_ns + offset, now_ns, max_age_ms=1000)
        assert found.usable == (-S_NS <= offset <= 250_000_000)
        if found.usable:
            assert (found.fault == 'backwards') == (now_ns + offset < last)
            last = now_ns + offset
    zero = check.check(0, now_ns, max_age_ms=1000)
    assert (zero.fault, zero.stamp_ns, zero.usable) == ('no_stamp', now_ns, True)


def test_a_camera_without_temperatures_is_logged_once_and_again_after_it_was_mended() -> None:
    rig = Rig()
    for _ in range(300):
        rig.now_s += 1.0
        rig.health.arrived(stamp_ns=0, now_ns=0)
        rig.health.note('temperature', '8-bit picture, not a temperature')
    assert len(rig.told) == 1
    assert rig.health.faults['temperature'] == 300
    assert rig.status().level == Level.WARN
    rig.now_s += HOLD_S + LOG_PERIOD_S
    rig.health.note('temperature', '8-bit picture, not a temperature')
    assert len(rig.told) == 2 and '299 more' in rig.told[1]
