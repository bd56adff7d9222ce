"""Drift without contact, and what a running series shows in addition to its windows."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.decode.series import WRENCH, Series, SeriesOptions
from encoders.decode.series_stream import SeriesStream
from encoders.decode.window import Window
from encoders.preprocess import mini_config
from lb_ros.engine.series_remarks import Drift, series_remarks
from lb_ros.engine.tare import tare, tared_ns
from tests.encoders.decode.series_messages import START_NS, joint_state, wrench

CONFIG = mini_config('wrench', {})
STEP_S = 0.25


def drifted(force_n: np.ndarray, *, tared: int | None = 0) -> list[str]:
    """The lines after windows of 2 s, every `STEP_S`, of a force sampled at 100 Hz."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (len(force_n), 6))
    values[:, 2] += force_n
    drift, lines = Drift(), []
    stamps_s = np.arange(-1.99, 0.005, 0.01)
    for end in range(200, len(force_n) + 1, round(STEP_S * 100)):
        raw = Series(values[end - 200 : end], stamps_s, WRENCH)
        window = Window(raw, 0, START_NS + end * 10_000_000)
        lines = drift.lines(window, CONFIG, tared_ns=tared)
    return lines


TIMES_S = np.arange(0, 20, 0.01)


def test_slow_changes_add_up_to_drift() -> None:
    (line,) = drifted(0.1 * TIMES_S)
    assert line.startswith('force.z has drifted by 1.')
    assert drifted(-0.1 * TIMES_S) and not drifted(0.03 * TIMES_S)


@pytest.mark.parametrize('push_n', [3.0, 30.0])
def test_contact_is_no_drift(push_n: float) -> None:
    steps = np.where(TIMES_S % 7 > 3, push_n, 0.0)
    swings = push_n * np.sin(TIMES_S * 1.5)
    assert not drifted(steps)
    assert not drifted(swings)


def test_a_gap_is_no_drift() -> None:
    force_n = np.where((TIMES_S > 5) & (TIMES_S < 6), np.nan, 0.0)
    assert not drifted(force_n)


def felt(force_n: np.ndarray) -> SeriesStream:
    """A stream of 100 Hz whose messages were decoded."""
    stream = SeriesStream('wrench', SeriesOptions(channels=WRENCH))
    rng = np.random.default_rng(0)
    for index, force in enumerate(force_n):
        values = rng.normal(0, 0.1, 6) * [1, 1, 1, 0.05, 0.05, 0.05] + [0, 0, force, 0, 0, 0]
        cut = stream.add(wrench(values), stamp_ns=START_NS + index * 10_000_000)
    stream.window(cut)
    return stream


def test_a_sensor_at_rest_is_tared_and_one_that_moves_is_not() -> None:
    stream = felt(np.full(100, 5.0))
    before_ns = tared_ns(stream, CONFIG)
    assert before_ns == START_NS + 250_000_000
    assert 'force.z 5' in tare(stream, CONFIG)
    assert tared_ns(stream, CONFIG) == START_NS + 990_000_000
    moving = felt(np.concatenate([np.zeros(70), np.linspace(0, 9, 30)]))
    with pytest.raises(ValueError, match=r'the sensor moves: force.z changed by [34]'):
        tare(moving, CONFIG)
    assert tared_ns(moving, CONFIG) == before_ns
    with pytest.raises(ValueError, match=r'0 messages of the last 0.25 s can be read'):
        tare(SeriesStream('wrench', SeriesOptions(channels=WRENCH)), CONFIG)


def test_a_sensor_that_moved_at_the_start_is_not_tared() -> None:
    stream = felt(np.linspace(0, 40, 100))
    assert tared_ns(stream, CONFIG) is None
    raw = Series(np.zeros((3, 6)), np.arange(3), WRENCH)
    found = series_remarks(stream, Drift(), CONFIG, Window(raw, 0, START_NS))
    assert found['untared'][0].startswith('force.z changed by')


def test_joints_that_messages_do_not_name_are_reported_while_they_are_missing() -> None:
    config = mini_config('joints', {'channels': ('one.position', 'two.position'), 'relative': ()})
    options = SeriesOptions(channels=config.channels, names={'two': 'zwei'})
    stream = SeriesStream('joints', options)
    seen: list[dict[str, list[str]]] = []
    for index in range(600):
        names = ['one', 'zwei', 'more'] if 200 <= index < 300 else ['one', 'more']
        message = joint_state({name: float(index) for name in names})
        cut = stream.add(message, stamp_ns=START_NS + index * 10_000_000)
        if index % 100 == 99:
            seen.append(series_remarks(stream, Drift(), config, stream.window(cut)))
    lines = [found.get('joints', []) for found in seen]
    assert lines[0] == ['no joint zwei, only one, more: set joints_names']
    assert [bool(line) for line in lines] == [True, True, False, False, False, True]
