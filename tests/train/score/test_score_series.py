"""Series in bags: scored from the windows and to the vectors that live nodes would have."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders import SERIES, Binder
from encoders.preprocess import is_series
from lb_ros.cli import main
from lb_ros.engine.arrival import Arrival
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.series_sets import write_series_set
from tests.train.series_bags import RATES_HZ, SeriesBag, random_facts
from train.bags.reader import BagReport, read_bag
from train.bags.topics import TOPICS
from train.score.embed import BagSource, embed_bag
from train.score.windows import SensorTopics, read_windows

FELT = tuple(name for name in SERIES if TOPICS[name])  # not those of described channels
LIMIT_S = 60.0
SECONDS = 4
PREDICATES = """
predicates:
  pressed:
    positive: [the tool presses on the table]
    negative: [the tool is in the air]
    modalities: [wrench]
    max_age_ms: 500
  held: {positive: [something is held], negative: [the gripper is empty], modalities: [joints]}
"""


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series_set(tmp_path_factory.mktemp('models') / 'felt', window_s=1.2)


@pytest.fixture(scope='module')
def binder(model: Path) -> Binder:
    return Binder.load(model)


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('series') / 'felt'
    return SeriesBag().write(path, random_facts(SECONDS, seed=1))


def source(bag: Path, binder: Binder, *, rate_hz: float = 15.0, **topics: str) -> BagSource:
    words = [f'{modality}={topic}' for modality, topic in topics.items()]
    named = SensorTopics.parse(words)
    found = BagSource.of(bag, binder, topics=named, max_rate_hz=rate_hz)
    return replace(found, modalities=FELT)


def test_windows_and_vectors_are_those_of_live_nodes(binder: Binder, tmp_path: Path) -> None:
    """Also where the wrench falls silent, so that its windows are no evidence."""
    facts = random_facts(2, seed=4)
    bag = SeriesBag().write(tmp_path / 'bag', facts, dead_after_s={'wrench': 0.8})
    report = BagReport(bag)
    found = embed_bag(
        binder, source(bag, binder, rate_hz=0), store=tmp_path / 'store', report=report
    )
    offline = {
        (str(m), int(stamp)): (int(start), str(reason), vector)
        for m, stamp, start, reason, vector in zip(
            found.modality, found.stamp_ns, found.start_ns, found.invalid_reason, found.vectors,
            strict=True,
        )
    }  # fmt: skip
    sink, log = QueueSink(), []
    worker = EncodingWorker(binder, sink, log=log.append)
    modality_of = {TOPICS[name][0]: name for name in FELT}
    count = 0
    try:
        names = {name: worker.add_sensor(name) for name in FELT}
        for message in read_bag(bag, topics=list(modality_of)):
            name = modality_of[message.topic]
            arrival = Arrival(message.message, message.stamp_ns, '', time.monotonic(), True)
            worker.put(names[name], arrival)
            live = sink.queue.get(timeout=LIMIT_S)
            start_ns, reason, vector = offline[name, live.stamp_ns]
            assert (live.window_start_ns, live.invalid_reason) == (start_ns, reason)
            np.testing.assert_allclose(live.vector, vector, atol=1e-5)
            count += 1
    finally:
        worker.close()
    assert count == len(offline) == len(found) == 2 * sum(RATES_HZ.values())
    silent = [reason for (m, _), (_, reason, _) in offline.items() if m == 'wrench'][-1]
    assert silent.startswith('force.x is constant at')
    assert any('force.x is constant at' in line for line in report.problems)


def test_a_window_is_as_long_as_the_encoder_needs_whatever_the_bag(
    bag: Path, binder: Binder
) -> None:
    report = BagReport(bag)
    for window in source(bag, binder).windows(report):
        series, config = window.raw(), binder.preprocessing[window.modality]
        assert is_series(config)
        assert series.channels == config.channels
        assert len(series.stamps_s) <= (config.window_s + 0.25) * RATES_HZ[window.modality] + 1
        assert series.stamps_s.max() == 0
        assert window.stamp_ns - window.start_ns <= config.window_s * 1e9
    assert report.problems == []


def test_the_limit_of_the_rate_applies(bag: Path, binder: Binder) -> None:
    windows = list(source(bag, binder, rate_hz=5.0).windows(BagReport(bag)))
    for name in FELT:
        assert len([w for w in windows if w.modality == name]) == pytest.approx(5 * SECONDS, abs=2)


def test_only_wanted_windows_are_cut_and_they_are_the_same(bag: Path, binder: Binder) -> None:
    every = {
        (w.topic, w.stamp_ns): w for w in source(bag, binder, rate_hz=0).windows(BagReport(bag))
    }
    chosen = {key for key in every if key[1] % 7 == 0}
    found = list(
        read_windows(
            bag,
            SensorTopics(),
            modalities=FELT,
            max_rate_hz=0,
            configs=binder.preprocessing,
            ends=lambda message: (message.topic, message.stamp_ns) in chosen,
        )
    )
    assert {(w.topic, w.stamp_ns) for w in found} == chosen
    for window in found:
        same = every[window.topic, window.stamp_ns]
        assert window.start_ns == same.start_ns
        np.testing.assert_array_equal(window.raw().values, same.raw().values)


def test_a_bag_with_and_without_a_sensor_is_scored(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = SeriesBag().write(
        tmp_path / 'bag', random_facts(SECONDS, seed=2), skip=['imu'], dead_after_s={'wrench': 1.5}
    )
    (tmp_path / 'predicates.yaml').write_text(PREDICATES)
    words = ['score', str(bag), '--predicates', str(tmp_path / 'predicates.yaml'), '--json']
    assert main([*words, '--model', str(model), '-o', str(tmp_path / 'out'), '--mcap']) == 0
    (record,) = json.loads(capsys.readouterr().out)
    lines = record['problems']
    assert [line for line in lines if 'imu' in line] == []  # a robot need not have one
    assert sum('force.x is constant at' in line for line in lines) == 1
    rows = pq.read_table(record['scores']).to_pylist()
    assert {row['modality'] for row in rows if row['predicate'] == 'pressed'} == {
        'wrench', 'fused',
    }  # fmt: skip
    # While its sensor is dead, the predicate is unknown for that reason.
    last = [r for r in rows if r['predicate'] == 'pressed' and r['modality'] == 'fused'][-1]
    assert last['state'] == 'UNKNOWN' and last['probability'] is None
    scored = Path(record['scores']).with_suffix('.mcap')
    states = [m.message.states for m in read_bag(scored, topics=['predicates/state'])][-1]
    reason = next(state.reason for state in states if state.name == 'pressed')
    assert 'force.x is constant at' in reason


def test_a_topic_of_another_name_is_proposed(bag: Path, binder: Binder, tmp_path: Path) -> None:
    moved = SeriesBag(topics={'wrench': '/ft_sensor/raw'}).write(
        tmp_path / 'moved', random_facts(1, seed=1)
    )
    report = BagReport(moved)
    assert all(w.modality != 'wrench' for w in source(moved, binder).windows(report))
    (line,) = report.problems
    assert 'no topic of a usual name for wrench' in line
    assert '--topic wrench=/TOPIC: ft_sensor/raw' in line
    named = source(moved, binder, wrench='/ft_sensor/raw')
    assert any(window.modality == 'wrench' for window in named.windows(BagReport(moved)))
