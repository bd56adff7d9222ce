"""Series in an index: found by sentence and by example, and encoded again as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encoders import SERIES, Binder
from lb_ros.cli import main
from tests.readouts import copy_with_readouts
from tests.series_sets import write_series_set
from tests.train.series_bags import SeriesBag, random_facts
from train.bags.reader import BagReport
from train.bags.topics import TOPICS
from train.score.embed import BagSource
from train.score.windows import SensorTopics
from train.search.index import index_bag
from train.search.reread import key_of, reread
from train.search.store import About, MomentStore

FELT = tuple(name for name in SERIES if TOPICS[name])  # not those of described channels
SENTENCE = 'the tool presses on the table'
SECONDS = 7


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('models')
    plain = write_series_set(folder / 'plain', window_s=1.0)
    return copy_with_readouts(plain, folder / 'felt', modalities=('wrench', 'joints'))


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('series') / 'felt'
    facts = random_facts(SECONDS, seed=5)
    return SeriesBag().write(path, facts, skip=['imu'], dead_after_s={'joints': 5.0})


def indexed(model: Path, bag: Path, folder: Path) -> tuple[Binder, MomentStore, BagReport]:
    """A new index of the bag, and what was reported while it was made."""
    binder = Binder.load(model)
    store = MomentStore(str(folder), About(binder.space, binder.model, 384))
    source = BagSource.of(bag, binder, topics=SensorTopics(), max_rate_hz=4.0)
    report = BagReport(bag)
    index_bag(binder, source, store, work=folder, report=report)
    return binder, store, report


def test_windows_of_series_are_encoded_again_as_they_were(
    model: Path, bag: Path, tmp_path: Path
) -> None:
    """Although only the data before each is read: the baseline is that of the whole bag."""
    binder, store, _ = indexed(model, bag, tmp_path / 'i')
    entries = store.at(str(bag.resolve()), 4.5, within_s=0.7)
    assert {entry.modality for entry in entries} == {'wrench', 'joints'}
    found = reread(binder, entries)
    assert set(found.evidence) == {key_of(entry) for entry in entries}
    for entry in entries:
        evidence = found.evidence[key_of(entry)]
        assert evidence.tokens is not None
        np.testing.assert_allclose(evidence.vector, entry.vector, atol=2e-3)


def test_what_is_no_evidence_is_not_stored_and_is_reported(
    model: Path, bag: Path, tmp_path: Path
) -> None:
    _, store, report = indexed(model, bag, tmp_path / 'i')
    late = store.at(str(bag.resolve()), 6.5, within_s=0.4)
    assert {entry.modality for entry in late} == {'wrench'}
    assert any('is constant at' in line for line in report.problems)
    early = store.at(str(bag.resolve()), 0.0, within_s=0.3)
    assert early == []  # less than half of a window is known


def test_sensors_of_one_index_have_codes_of_their_own() -> None:
    from encoders import SENSED
    from train.search.sensor_codes import _code

    codes = np.stack([_code(name) for name in SENSED])
    products = codes @ codes.T
    np.testing.assert_allclose(np.diag(products), products[0, 0], atol=1e-6)
    # No sensor is nearer to another one than at a right angle.
    assert (products - np.diag(np.diag(products))).max() < 1e-6


def test_commands_find_series_by_sentence_and_by_example(
    model: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / 'moments')
    assert main(['index', str(bag), '-o', index, '--model', str(model)]) == 0
    capsys.readouterr()
    words = ['--model', str(model), '--json']
    assert main(['search', index, SENTENCE, *words, '--modalities', *FELT]) == 0
    by_sentence = json.loads(capsys.readouterr().out)
    assert {each['modality'] for each in by_sentence} <= {'wrench', 'joints'}
    assert all(each['read_from'] == 'tokens' for each in by_sentence)
    assert all(set(each['thumbnails']) == {'wrench', 'joints'} for each in by_sentence)
    assert main(['search', index, '--like', f'{bag}@4.0s', '--apart', '0.5', *words]) == 0
    by_example = json.loads(capsys.readouterr().out)
    assert by_example and all(abs(each['time_s'] - 4.0) >= 0.5 for each in by_example)
