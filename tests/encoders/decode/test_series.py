"""Streams of numeric channels: any rate, any order, gaps, dead channels, and the baseline."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.decode import DecodeError
from encoders.decode.series import WRENCH, Series, SeriesOptions, decode_series
from encoders.decode.series_grid import Grid, to_grid
from encoders.decode.series_stream import BASELINE_S, SeriesStream
from encoders.decode.streams import stream_of
from tests.encoders.decode.series_messages import (
    SECOND_NS,
    START_NS,
    fed,
    forces,
    imu,
    joint_state,
    wrench,
)

RATE_HZ, STEPS = 100.0, 200
PLAIN = SeriesOptions()


def grid(series: Series, *, rate_hz: float = RATE_HZ, steps: int = STEPS) -> Grid:
    return to_grid(series, series.channels, rate_hz=rate_hz, steps=steps)


def series_at(times_s: np.ndarray, *, seed: int = 0) -> Series:
    return Series(forces(times_s, seed=seed), times_s, WRENCH)


# Decoding


def test_joints_are_found_by_name_in_any_order() -> None:
    message = joint_state({'finger': 0.04, 'elbow': 1.0}, velocity=[0.5, -1.0])
    channels = ('elbow.position', 'finger.position', 'elbow.velocity', 'finger.effort')
    row = decode_series('joints', message, channels, PLAIN)
    np.testing.assert_array_equal(row, [1.0, 0.04, -1.0, np.nan])


def test_joints_of_another_robot_are_renamed() -> None:
    options = SeriesOptions(names={'finger': 'robotiq_85_left_knuckle_joint'})
    message = joint_state({'robotiq_85_left_knuckle_joint': 0.7})
    assert decode_series('joints', message, ('finger.position',), options)[0] == 0.7


def test_a_driver_that_publishes_the_reaction_is_turned() -> None:
    row = decode_series('wrench', wrench([1, 2, 3, 4, 5, 6]), WRENCH, SeriesOptions(sign=-1.0))
    np.testing.assert_array_equal(row, [-1, -2, -3, -4, -5, -6])


def test_what_an_inertial_unit_does_not_report_is_not_measured() -> None:
    message = imu([0, 0, 9.8, 1, 2, 3], acceleration_covariance=-1.0)
    channels = ('linear_acceleration.z', 'angular_velocity.z')
    np.testing.assert_array_equal(decode_series('imu', message, channels, PLAIN), [np.nan, 3])


@pytest.mark.parametrize('modality', ['wrench', 'joints', 'imu'])
def test_messages_of_another_type_are_refused(modality: str) -> None:
    with pytest.raises(DecodeError, match=f'not a message of {modality}, expected') as raised:
        decode_series(modality, SimpleNamespace(data=1), ('force.x', 'a.effort'), PLAIN)
    assert raised.value.fault == 'encoding'


def test_unknown_channels_are_refused_by_name() -> None:
    with pytest.raises(DecodeError, match=r"unknown channel 'force.w'"):
        decode_series('wrench', wrench([0] * 6), ('force.w',), PLAIN)
    with pytest.raises(DecodeError, match=r"unknown channel 'elbow.torque'"):
        decode_series('joints', joint_state({'elbow': 0.0}), ('elbow.torque',), PLAIN)


@pytest.mark.parametrize('shape', [(5, 2), (5,), (4, 6)])
def test_a_series_of_unfit_shapes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='must have values'):
        Series(np.zeros(shape), np.zeros(5), WRENCH)


# The grid


@given(rate_hz=st.floats(10, 1000), seed=st.integers(0, 99), jitter=st.floats(0, 0.3))
def test_any_rate_gives_the_same_curve(rate_hz: float, seed: int, jitter: float) -> None:
    rng = np.random.default_rng(seed)
    times_s = np.arange(-3.0, 0.0, 1 / rate_hz)
    times_s += rng.uniform(0, jitter / rate_hz, len(times_s))
    found = grid(series_at(times_s, seed=seed))
    assert found.valid.all()
    assert found.rate_hz == pytest.approx(rate_hz, rel=0.35)
    exact = forces(times_s.max() - np.arange(STEPS)[::-1] / RATE_HZ)
    # Between samples 100 ms apart, a line is a little below a wave.
    tolerance = 0.3 if rate_hz < 40 else 0.1
    assert np.abs(found.values - exact)[:, :3].max() < tolerance * 5
    assert np.abs(found.values - exact).mean() < 0.05


@given(seed=st.integers(0, 99), rate_hz=st.floats(20, 1000))
def test_the_order_of_samples_does_not_matter(seed: int, rate_hz: float) -> None:
    times_s = np.arange(-2.5, 0.0, 1 / rate_hz)
    series = series_at(times_s)
    order = np.random.default_rng(seed).permutation(len(times_s))
    mixed = Series(series.values[order], times_s[order], WRENCH)
    np.testing.assert_allclose(grid(mixed).values, grid(series).values)


@given(seed=st.integers(0, 99))
def test_repeated_samples_change_nothing(seed: int) -> None:
    times_s = np.arange(-2.5, 0.0, 0.004)
    series = series_at(times_s)
    doubled = np.repeat(np.arange(len(times_s)), 2)
    twice = Series(series.values[doubled], times_s[doubled], WRENCH)
    np.testing.assert_allclose(grid(twice).values, grid(series).values)


def test_a_grid_of_a_grid_is_itself() -> None:
    values = forces(np.arange(STEPS) / RATE_HZ)
    series = Series(values, 1.7e9 + np.arange(STEPS) / RATE_HZ, WRENCH)
    np.testing.assert_allclose(grid(series).values, values)


@given(
    start=st.floats(-1.9, -0.7),
    length=st.floats(0.35, 0.45),
    rate_hz=st.sampled_from([20.0, 100.0, 500.0]),
)
def test_a_gap_is_masked_and_nothing_else(start: float, length: float, rate_hz: float) -> None:
    times_s = np.arange(-2.5, 0.0, 1 / rate_hz)
    kept = (times_s < start) | (times_s > start + length)
    found = grid(series_at(times_s[kept]))
    at = times_s.max() - np.arange(STEPS)[::-1] / RATE_HZ
    inside = (at > start + 0.03) & (at < start + length - 0.03)
    outside = (at < start - 1 / rate_hz - 0.02) | (at > start + length + 1 / rate_hz + 0.02)
    assert not found.valid[inside].any()
    assert found.valid[outside].all()


def test_a_beginning_that_was_not_recorded_is_masked() -> None:
    found = grid(series_at(np.arange(-0.5, 0.0, 0.01)))
    assert not found.valid[:145].any()
    assert found.valid[-50:].all()


@pytest.mark.parametrize('dead', [np.nan, np.inf, 0.0, -3.25, 1e300])
def test_a_dead_channel_is_masked_with_the_reason(dead: float) -> None:
    times_s = np.arange(-2.5, 0.0, 0.002)
    values = forces(times_s)
    values[:, 2] = dead
    found = grid(Series(values, times_s, WRENCH))
    assert list(found.masked) == ['force.z']
    expected = f'is constant at {dead:.4g}' if abs(dead) < 10 else 'has no finite value'
    assert found.masked['force.z'] == expected
    assert not found.valid[:, 2].any()
    assert found.valid[:, [0, 1, 3, 4, 5]].all()


def test_a_joint_at_rest_keeps_its_position() -> None:
    times_s = np.arange(-2.5, 0.0, 0.01)
    values = np.column_stack([np.full(len(times_s), 0.02), np.zeros(len(times_s))])
    series = Series(values, times_s, ('finger.position', 'finger.effort'))
    found = grid(series)
    assert found.masked == {'finger.effort': 'is constant at 0'}
    np.testing.assert_allclose(found.values[:, 0], 0.02)


def test_values_that_are_sometimes_missing_are_interpolated() -> None:
    times_s = np.arange(-2.5, 0.0, 0.01)
    values = forces(times_s)
    values[::3, 0] = np.nan
    found = grid(Series(values, times_s, WRENCH))
    assert found.masked == {}
    assert found.valid.all()


def test_channels_of_two_publishers_are_joined() -> None:
    arm, finger = np.arange(-2.5, 0.0, 0.002), np.arange(-2.49, 0.0, 1 / 30)
    values = np.full((len(arm) + len(finger), 2), np.nan)
    values[: len(arm), 0], values[len(arm) :, 1] = np.sin(arm), np.cos(finger)
    channels = ('elbow.position', 'finger.position')
    found = grid(Series(values, np.concatenate([arm, finger]), channels))
    assert found.valid.all()
    at = -0.002 - np.arange(STEPS)[::-1] / RATE_HZ
    np.testing.assert_allclose(found.values[:, 0], np.sin(at), atol=0.02)
    np.testing.assert_allclose(found.values[:, 1], np.cos(at), atol=0.04)


def test_channels_that_a_series_lacks_are_masked() -> None:
    found = to_grid(series_at(np.arange(-2, 0, 0.01)), ('force.x', 'up'), rate_hz=100, steps=9)
    assert found.masked == {'up': 'is not in the series'}
    assert found.valid[:, 0].all()


# The stream


@given(
    rate_hz=st.sampled_from([10.0, 33.0, 100.0, 500.0, 1000.0]),
    swaps=st.lists(st.integers(0, 60), max_size=8),
    repeats=st.lists(st.integers(0, 60), max_size=8),
)
def test_disorder_within_a_stream_gives_the_ordered_window(
    rate_hz: float, swaps: list[int], repeats: list[int]
) -> None:
    times_s = np.arange(0, 3, 1 / rate_hz)
    rows = forces(times_s)
    order = list(range(len(times_s)))
    for at in swaps:  # a neighbour overtakes; the last message stays the newest
        at %= len(order) - 2
        order[at], order[at + 1] = order[at + 1], order[at]
    for at in repeats:
        at %= len(order) - 1
        order.insert(at, order[at])
    plain = fed(SeriesStream('wrench'), [wrench(row) for row in rows], list(times_s))
    mixed = fed(SeriesStream('wrench'), [wrench(rows[i]) for i in order], list(times_s[order]))
    assert mixed.stamp_ns == plain.stamp_ns
    # A repeated sample weighs twice in the mean of its step.
    np.testing.assert_allclose(grid(mixed.raw).values, grid(plain.raw).values, atol=0.05)
    assert mixed.fault is None or repeats or order != sorted(order)


def test_a_window_is_the_same_however_often_it_is_asked_for() -> None:
    times_s = np.arange(0, 4, 0.002)
    rows = forces(times_s)
    often, once = SeriesStream('wrench'), SeriesStream('wrench')
    for row, time_s in zip(rows, times_s, strict=True):
        stamp_ns = START_NS + round(time_s * SECOND_NS)
        cut = often.add(wrench(row), stamp_ns=stamp_ns)
        if stamp_ns % 50_000_000 == 0:
            often.window(cut)
        once.add_row(row, stamp_ns=stamp_ns)
    last = often.window(cut)
    once.channels = WRENCH
    until = once.until(START_NS + 4 * SECOND_NS)
    assert until is not None
    np.testing.assert_array_equal(last.raw.values, until.raw.values)
    np.testing.assert_array_equal(last.raw.stamps_s, until.raw.stamps_s)
    assert last.stamp_ns - last.start_ns == pytest.approx(2 * SECOND_NS, abs=3e6)


def test_doubled_stamps_are_reported() -> None:
    times_s = np.repeat(np.arange(0, 2, 0.01), 2)
    window = fed(SeriesStream('wrench'), [wrench(r) for r in forces(times_s)], list(times_s))
    assert window.fault is not None
    assert window.fault[0] == 'repeated'
    assert '200 of 400' in window.fault[1]


def test_two_publishers_may_share_stamps() -> None:
    stream = stream_of('joints')
    assert isinstance(stream, SeriesStream)
    stream.channels = ('elbow.position', 'finger.position')
    messages, times_s = [], []
    for step in range(200):
        messages += [joint_state({'elbow': step}), joint_state({'finger': step / 9})]
        times_s += [step / 100] * 2
    window = fed(stream, messages, times_s)
    assert window.fault is None
    assert grid(window.raw, steps=150).valid.all()


def test_stamps_that_go_back_begin_again() -> None:
    stream = SeriesStream('wrench')
    times_s = [*np.arange(10, 12, 0.01), *np.arange(3, 3.195, 0.01)]
    window = fed(stream, [wrench(r) for r in forces(np.array(times_s))], times_s)
    assert window.fault == ('backwards', 'stamps go back by 9.0 s; the window begins again')
    assert len(window.raw.stamps_s) == 20
    assert window.raw.stamps_s.max() == 0


def test_gaps_are_reported() -> None:
    times_s = [*np.arange(0, 1, 0.01), *np.arange(1.6, 2, 0.01)]
    window = fed(SeriesStream('wrench'), [wrench(r) for r in forces(np.array(times_s))], times_s)
    assert window.fault == ('gap', '610 ms are missing')


def test_one_bad_message_is_a_gap_and_the_newest_one_an_error() -> None:
    times_s = list(np.arange(0, 1, 0.01))
    messages = [wrench(r) for r in forces(np.array(times_s))]
    messages[50] = SimpleNamespace()
    window = fed(SeriesStream('wrench'), messages, times_s)
    assert window.fault is not None
    assert window.fault[0] == 'encoding'
    assert len(window.raw.stamps_s) == 99
    with pytest.raises(DecodeError, match='not a message of wrench'):
        fed(SeriesStream('wrench'), messages[:51], times_s[:51])


def test_memory_is_bounded_if_stamps_stand_still() -> None:
    stream = SeriesStream('wrench')
    for row in np.zeros((30_000, 6)):
        cut = stream.add_row(row, stamp_ns=START_NS)
    stream.channels = WRENCH
    assert len(stream.window(cut).raw.stamps_s) <= 10_001


def test_the_baseline_is_that_of_the_start() -> None:
    times_s = np.arange(0, 3, 0.01)
    rows = forces(times_s)
    rows[:, 2] = np.where(times_s <= BASELINE_S, 12.0, 20.0) + 0.01 * np.sin(times_s * 50)
    stream = SeriesStream('wrench')
    window = fed(stream, [wrench(row) for row in rows], list(times_s))
    assert window.raw.baseline[2] == pytest.approx(12.0, abs=0.02)
    assert stream.tared_ns == START_NS + round(BASELINE_S * SECOND_NS)


def test_a_stream_is_tared_again_or_given_its_baseline() -> None:
    times_s = np.arange(0, 3, 0.01)
    rows = forces(times_s)
    rows[:, 0] = np.where(times_s < 2, 1.0, 5.0) + 0.01 * np.sin(times_s * 50)
    stream = SeriesStream('wrench')
    fed(stream, [wrench(row) for row in rows[:200]], list(times_s[:200]))
    stream.tare()
    window = fed(stream, [wrench(row) for row in rows[200:]], list(times_s[200:]))
    assert window.raw.baseline[0] == pytest.approx(5.0, abs=0.02)
    stream.tare([7.0] * 6)
    window = fed(stream, [wrench(rows[-1])], [3.0])
    assert window.raw.baseline.tolist() == [7.0] * 6


def test_a_jump_in_time_keeps_the_baseline_and_forgets_the_samples() -> None:
    times_s = np.arange(0, 2, 0.01)
    stream = SeriesStream('wrench')
    before = fed(stream, [wrench(row) for row in forces(times_s)], list(times_s))
    stream.forget()
    after = fed(stream, [wrench([1] * 6)], [50.0])
    assert len(after.raw.stamps_s) == 1
    np.testing.assert_array_equal(after.raw.baseline, before.raw.baseline)


def test_a_slow_stream_is_known_over_its_whole_window() -> None:
    times_s = np.arange(0, 4, 0.1)
    window = fed(SeriesStream('wrench'), [wrench(r) for r in forces(times_s)], list(times_s))
    assert grid(window.raw).valid.all()
    assert window.fault is None
