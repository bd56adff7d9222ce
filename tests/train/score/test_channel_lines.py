"""Channels of series as people see them: groups, units, lines over time and small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import Series
from encoders.decode.series import INERTIAL, WRENCH
from tests.train.series_bags import RATES_HZ, START_NS, SeriesBag, random_facts
from train.bags.reader import BagReport, read_bag
from train.score.channel_lines import BINS, ChannelRecorder
from train.score.channels import NewSamples, drawn_groups, groups_of, unit_of
from train.score.embed import BagSource
from train.score.series_picture import GROUND, draw_series
from train.score.windows import SensorTopics

SECONDS = 3


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> BagSource:
    path = tmp_path_factory.mktemp('series') / 'felt'
    SeriesBag().write(path, random_facts(SECONDS, seed=3))
    return BagSource(path, SensorTopics(), ('wrench', 'joints', 'imu'), 15.0)


def test_channels_are_grouped_by_quantity_with_units() -> None:
    wrench = groups_of(WRENCH)
    assert [(g.name, g.unit, g.labels) for g in wrench] == [
        ('force', 'N', ('x', 'y', 'z')),
        ('torque', 'N m', ('x', 'y', 'z')),
    ]
    joints = groups_of(('elbow.position', 'wrist.position', 'elbow.effort'))
    assert [(g.name, g.labels, g.columns) for g in joints] == [
        ('position', ('elbow', 'wrist'), (0, 1)),
        ('effort', ('elbow',), (2,)),
    ]
    assert [group.name for group in drawn_groups(INERTIAL)] == ['linear_acceleration']
    assert [group.name for group in drawn_groups(('elbow.velocity',))] == ['velocity']
    assert unit_of('pressure') == '' and groups_of(('pressure',))[0].title == 'pressure'


def test_new_samples_of_windows_are_the_messages_of_the_bag(source: BagSource) -> None:
    new, found = NewSamples(), []
    for window in source.windows(BagReport(source.path)):
        if window.modality == 'wrench':
            stamps, values = new.of(window)
            found += list(zip(stamps.tolist(), values[:, 2].tolist(), strict=True))
    messages = [
        (m.stamp_ns, m.message.wrench.force.z)
        for m in read_bag(source.path, topics=['wrist/wrench'])
    ]
    assert found == messages[: len(found)]
    assert len(messages) - len(found) <= RATES_HZ['wrench'] / 15


def test_lines_keep_the_extremes_and_a_fixed_size(source: BagSource) -> None:
    recorder = ChannelRecorder(source, start_ns=START_NS, duration_s=SECONDS)
    values = []
    new = NewSamples()
    for window in source.windows(BagReport(source.path)):
        recorder.add(window)
        if window.modality == 'wrench':
            values.append(new.of(window)[1])
    lines = {(line.modality, line.title): line for line in recorder.lines()}
    assert set(lines) == {
        ('wrench', 'force (N)'), ('wrench', 'torque (N m)'), ('joints', 'position (rad or m)'),
        ('joints', 'effort (N m or N)'), ('imu', 'linear acceleration (m/s²)'),
    }  # fmt: skip
    force = lines['wrench', 'force (N)']
    assert force.t == sorted(force.t) and force.t[-1] <= SECONDS
    sensed = np.concatenate(values)[:, :3]
    for column, shown in enumerate(force.v):
        assert len(shown) == len(force.t) <= 3 * BINS
        assert min(v for v in shown if v is not None) == pytest.approx(
            sensed[:, column].min(), rel=1e-3
        )
        assert max(v for v in shown if v is not None) == pytest.approx(
            sensed[:, column].max(), rel=1e-3
        )


def test_a_pause_breaks_the_line(tmp_path: Path) -> None:
    path = SeriesBag().write(
        tmp_path / 'bag',
        random_facts(3, seed=3),
        skip=['joints', 'imu'],
        silent_s={'wrench': (1, 2)},
    )
    source = BagSource(path, SensorTopics(), ('wrench',), 15.0)
    recorder = ChannelRecorder(source, start_ns=START_NS, duration_s=3.0)
    for window in source.windows(BagReport(path)):
        recorder.add(window)
    force = recorder.lines()[0]
    (gap,) = [i for i, value in enumerate(force.v[0]) if value is None]
    assert 0.9 < force.t[gap - 1] < 1.1 and 1.9 < force.t[gap + 1] < 2.1


@given(
    rows=st.integers(1, 40),
    holes=st.floats(0, 1),
    scale=st.sampled_from([0.0, 1e-9, 1.0, 1e9]),
)
def test_any_series_has_a_picture(rows: int, holes: float, scale: float) -> None:
    rng = np.random.default_rng(rows)
    values = rng.normal(size=(rows, 6)) * scale
    values[rng.random((rows, 6)) < holes] = np.nan
    picture = draw_series(Series(values, rng.uniform(-2, 0, rows), WRENCH))
    assert picture.shape == (180, 240, 3) and picture.dtype == np.uint8
    assert (picture != np.array(GROUND, np.uint8)).any()
