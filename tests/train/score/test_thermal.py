"""Bags of thermal cameras with automatic gain: scored, calibrated and indexed without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders import Binder, Predicate, PredicateBank, decode_image
from encoders.preprocess.mini.image import ImageConfig
from encoders.preprocess.mini.infrared import InfraredConfig
from encoders.shipped import shipped
from lb_ros.cli import main
from train.bags.extract import extract_bag
from train.bags.load import load_samples
from train.bags.reader import BagReport, read_bag
from train.score.embed import BagSource
from train.score.windows import SensorTopics, read_windows

REASON = '8-bit picture, not a temperature'
MOMENTS = [{'hot(stove)': index > 5} for index in range(10)]


def with_automatic_gain(counts: Any) -> Any:
    low, high = float(counts.min()), float(counts.max())
    return np.round((counts - low) / (high - low) * 255).astype(np.uint8)


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('bags') / 'grey'
    return Path(drawn.write(path, MOMENTS, thermal=with_automatic_gain))


def test_the_demo_bag_has_temperatures_and_automatic_gain_does_not_count() -> None:
    """As counts the stove is cold, then hot; per frame stretched, nothing is claimed at all."""
    bank = PredicateBank(
        [Predicate('hot', ('the stove is hot',), ('the stove is cold',))], Binder.load('lb-mini')
    )
    found: dict[str, list[float]] = {'cold': [], 'hot': []}
    messages = list(read_bag(shipped('lb_ros/data/demo_bag'), topics=['infrared/image']))
    begin_ns = messages[0].log_ns
    for message in messages[::4]:
        time_s = (message.log_ns - begin_ns) * 1e-9
        counts = decode_image(message.message, modality='infrared').array
        assert bank.binder.objection('infrared', counts) is None
        if time_s < 8 or time_s > 12:
            score = bank.score(bank.binder.embed(infrared=counts))[0]
            assert score.calibrated
            found['cold' if time_s < 8 else 'hot'].append(score.fused)
        grey = bank.score(bank.binder.embed(infrared=with_automatic_gain(counts)))[0]
        assert (grey.fused, grey.calibrated, grey.can_tell) == (0.5, False, False)
        assert f'infrared: {REASON}' in grey.reasons
    assert np.mean(found['cold']) < 0.4 < 0.7 < np.mean(found['hot'])


def test_score_says_why_infrared_does_not_count(
    bag: Path, tiny_model_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(
        'predicates: {hot: {positive: [the stove is hot], negative: [the stove is cold],'
        ' modalities: [infrared], threshold_on: 0.5, threshold_off: 0.49999, dwell_ms: 0}}'
    )
    words = ['score', str(bag), '--predicates', str(predicates), '--model', str(tiny_model_set)]
    assert main([*words, '-o', str(tmp_path / 'out'), '--mcap']) == 0
    written = capsys.readouterr()
    assert (written.out + written.err).count(REASON) == 1
    rows = pq.read_table(tmp_path / 'out' / 'grey' / 'scores.parquet').to_pylist()
    assert {row['state'] for row in rows} == {'UNKNOWN'}
    assert {row['probability'] for row in rows if row['modality'] == 'fused'} == {None}
    assert {row['calibrated'] for row in rows if row['modality'] == 'infrared'} == {False}
    scores = [
        score
        for message in read_bag(tmp_path / 'out' / 'grey' / 'scores.mcap')
        if message.topic == 'predicates/scores'
        for score in message.message.scores
    ]
    assert len(scores) >= len(MOMENTS)
    assert all(any(REASON in reason for reason in score.reasons) for score in scores)


def test_nothing_is_learned_from_pictures_without_temperatures(
    bag: Path, drawn: Any, tmp_path: Path
) -> None:
    configs = {'infrared': InfraredConfig(size=32)}
    samples, report = load_samples([bag], configs)
    assert not samples.inputs['infrared'].any()
    assert sum(REASON in line for line in report.problems) == 1
    good = drawn.write(tmp_path / 'counts', MOMENTS)
    samples, report = load_samples([good], configs)
    assert samples.inputs['infrared'].all() and not report.problems


def test_a_sensor_in_two_forms_is_counted_once(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = drawn.write(tmp_path / 'both', MOMENTS, also_raw=True)
    windows = list(read_windows(both, SensorTopics(), modalities=['image'], max_rate_hz=0))
    assert [window.topic for window in windows] == ['camera/image'] * len(MOMENTS)
    decoded: list[str] = []
    monkeypatch.setattr(
        'encoders.decode.streams.decode_image',
        lambda message, **options: (
            decoded.append(type(message).__name__) or decode_image(message, **options)
        ),
    )
    _, problems = extract_bag(both, {'image': ImageConfig(size=32)})
    assert decoded == ['sensor_msgs__msg__Image'] * len(MOMENTS)
    assert problems == []


def test_a_bag_that_holds_only_compressed_pictures_is_read(drawn: Any, tmp_path: Path) -> None:
    only = drawn.write(tmp_path / 'only', MOMENTS)
    windows = list(read_windows(only, SensorTopics(), modalities=['image'], max_rate_hz=0))
    assert [w.topic for w in windows] == ['camera/image/compressed'] * len(MOMENTS)
    samples, _ = extract_bag(only, {'image': ImageConfig(size=32)})
    assert samples.inputs['image'].any()


def test_an_index_leaves_out_what_shows_no_temperatures(
    bag: Path, tiny_model_set: Path, tmp_path: Path
) -> None:
    pytest.importorskip('lancedb')
    from train.search.index import index_bag
    from train.search.store import About, MomentStore

    binder = Binder.load(tiny_model_set)
    store = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, 384))
    sensors = BagSource(bag, SensorTopics(), ('depth', 'infrared'), 15.0)
    report = BagReport(bag)
    index_bag(binder, sensors, store, work=tmp_path / 'i', report=report)
    assert len(store.sample('depth')) == len(MOMENTS)
    assert not len(store.sample('infrared'))
    assert sum(REASON in line for line in report.problems) == 1
