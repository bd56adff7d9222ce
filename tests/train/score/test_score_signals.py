"""Channels described in words, read from bags as `signals_encoder` reads them live."""

from __future__ import annotations

import tarfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from encoders import Binder, Series
from encoders.decode.channels import ChannelDescription, TopicMessage
from encoders.model_sets.files import save_model_set
from lb_ros.cli import main
from lb_ros.engine.arrival import Arrival
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.series_sets import described_set
from tests.train.series_bags import SeriesBag, random_facts
from train.bags.reader import BagReport, read_bag
from train.pairs.record import decode
from train.score.embed import BagSource, embed_bag
from train.score.windows import SensorTopics

PRESS = ChannelDescription(
    'force on the tool, newtons', topic='/wrist/wrench', field='wrench.force.z', floor=0.3
)
FINGER = ChannelDescription(
    'effort of the finger', topic='joint_states', field='effort{finger_joint}', floor=0.1
)
JOINTS = ChannelDescription(
    'effort of joint {index}', topic='joint_states', field='effort[1:3]', floor=0.1
)
ALL = {'press': PRESS, 'finger': FINGER, 'arm': JOINTS}
FEWER = {'finger': FINGER, 'press': PRESS}
LIMIT_S = 60.0


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('models') / 'felt'
    save_model_set(folder, described_set(ALL, window_s=1.0, patch_ms=100.0))
    return folder


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SeriesBag().write(tmp_path_factory.mktemp('bags') / 'felt', random_facts(3, seed=1))


@pytest.fixture(scope='module')
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('channels') / 'fewer.yaml'
    path.write_text(yaml.safe_dump({name: asdict(one) for name, one in FEWER.items()}))
    return path


def test_vectors_are_those_of_the_live_worker(model: Path, bag: Path, tmp_path: Path) -> None:
    binder = Binder.load(model, channels=FEWER)
    source = BagSource.of(bag, binder, topics=SensorTopics(), max_rate_hz=0)
    report = BagReport(bag)
    found = embed_bag(binder, source, store=tmp_path / 'store', report=report)
    assert set(found.modality) == {'signals'} and set(found.topic) == {'signals'}
    sink = QueueSink()
    worker = EncodingWorker(binder, sink, log=lambda line: None)
    try:
        sensor = worker.add_sensor('signals')
        messages = read_bag(bag, topics=['wrist/wrench', 'joint_states'])
        for index, message in enumerate(messages):
            sent = TopicMessage(message.topic, message.message)
            worker.put(sensor, Arrival(sent, message.stamp_ns, '', time.monotonic(), True))
            live = sink.queue.get(timeout=LIMIT_S)
            assert live.stamp_ns == found.stamp_ns[index]
            assert live.invalid_reason == str(found.invalid_reason[index])
            np.testing.assert_allclose(live.vector, found.vectors[index], atol=1e-5)
    finally:
        worker.close()
    assert index + 1 == len(found)
    assert not found.invalid_reason[-1]


def test_score_takes_the_file_and_names_topics_that_a_bag_lacks(
    model: Path, bag: Path, channels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(
        'predicates: {pressed: {positive: [it presses], negative: [it is free], '
        'modalities: [signals], max_age_ms: 500}}'
    )
    words = ['--model', str(model), '--predicates', str(predicates), '--no-timeline']
    out = tmp_path / 'scored'
    named = ['--channels', str(channels)]
    assert main(['score', str(bag), *words, *named, '-o', str(out)]) == 0
    table = pq.read_table(next(out.rglob('*.parquet'))).to_pylist()
    assert any(row['probability'] is not None for row in table)
    partial = SeriesBag().write(tmp_path / 'partial', random_facts(2, seed=2), skip=['joints'])
    capsys.readouterr()
    main(['score', str(partial), *words, *named, '-o', str(tmp_path / 'other')])
    assert 'no topic joint_states of signals' in capsys.readouterr().err


def test_topics_of_signals_are_not_options(
    model: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--model', str(model), '--topics', 'signals=/wrist/wrench']
    assert main(['score', str(bag), *words, '-o', str(tmp_path / 'scored')]) == 2
    assert 'the file of --channels names topics' in capsys.readouterr().err


def test_an_index_is_searched(
    model: Path, bag: Path, channels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / 'moments')
    words = ['--model', str(model), '--channels', str(channels)]
    assert main(['index', str(bag), '-o', index, *words]) == 0
    assert main(['search', index, 'it presses', '--model', str(model), '--top', '2']) == 0
    assert 'signals' in capsys.readouterr().out


def test_pairs_hold_the_channels_of_the_file(bag: Path, channels: Path, tmp_path: Path) -> None:
    out = tmp_path / 'pairs'
    words = ['--modalities', 'signals', '--channels', str(channels), '--window', '0.8']
    assert main(['train', 'pairs', '--data', str(bag), '--out', str(out), *words]) == 0
    with tarfile.open(next(out.glob('*.tar'))) as shard:
        found = [shard.extractfile(m) for m in shard if m.name.endswith('.signals.npz')]
        series = [decode('signals', {'signals.npz': f.read()}) for f in found if f is not None]
    assert len(series) == 3
    for each in series:
        assert isinstance(each, Series) and each.channels == ('finger', 'press')
        # Every message measures the channel of its topic.
        assert (np.isfinite(each.values).sum(axis=1) == 1).all()
        assert np.isfinite(each.values).any(axis=0).all()
