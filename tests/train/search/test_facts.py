"""Facts that an index keeps of every window, and what they add to a search."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import Binder, Predicate
from encoders.model_sets.readouts import CALIBRATION
from lb_ros.cli import main
from tests.readouts import copy_with_readouts, some_calibration
from tests.train.search.recorded import depth_at
from train.score.facts import FactReader
from train.search.find import find_sentence
from train.search.orders import NEARLY
from train.search.reread import Rereading
from train.search.store import MomentStore

pytest.importorskip('lancedb')

MOMENTS = [{'open(top drawer)': i > 5, 'dropped(something)': i == 7} for i in range(12)]
FACTS = ('open(top drawer)', 'dropped(something)', 'hot(stove)')


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('set') / 'with_facts'
    copy_with_readouts(tiny_model_set, target, modalities=('depth', 'image'))
    made = some_calibration(Binder.load(target), FACTS, modalities=('depth', 'image'))
    made.save(target, file=CALIBRATION)
    return target


@pytest.fixture(scope='module')
def binder(folder: Path) -> Binder:
    return Binder.load(folder)


@pytest.fixture(scope='module')
def facts(binder: Binder) -> FactReader:
    found = FactReader.of(binder)
    assert found is not None
    return found


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp('bags')
    return [drawn.write(root / f'bag{k}', MOMENTS, seed=k) for k in range(2)]


@pytest.fixture(scope='module')
def index(folder: Path, bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('index') / 'moments'
    words = ['index', *map(str, bags), '-o', str(path), '--model', str(folder)]
    assert main(words) == 0
    return path


def test_an_index_keeps_what_the_readouts_say(
    index: Path, binder: Binder, facts: FactReader, bags: list[Path]
) -> None:
    store = MomentStore(str(index))
    assert (store.about.facts, store.about.facts_id) == (len(FACTS), facts.identity)
    entries = store.at(str(bags[0].resolve()), 2.0, within_s=1.2)
    depth = next(e for e in entries if e.modality == 'depth')
    seen = binder.observe(depth=depth_at(bags[0], depth.stamp_ns))['depth']
    np.testing.assert_allclose(depth.facts, facts.log_odds('depth', seen), atol=0.05)
    assert np.abs(depth.facts).max() > 0
    # A sensor without a readout says nothing.
    assert all(not e.facts.any() for e in entries if e.modality in ('infrared', 'audio'))


def test_the_windows_with_the_largest_sum_come_first(index: Path, bags: list[Path]) -> None:
    store = MomentStore(str(index))
    weights = np.array([0.5, -1.0, 0.0], np.float32)
    found = store.likely(weights, 'depth', limit=5)
    entries = [e for bag in bags for e in store.at(str(bag.resolve()), 3.0, within_s=99.0)]
    sums = sorted(float(e.facts @ weights) for e in entries if e.modality == 'depth')
    np.testing.assert_allclose([value for value, _ in found], sums[::-1][:5], atol=1e-4)


def test_a_sentence_and_its_denial_weigh_facts_oppositely(facts: FactReader) -> None:
    said = facts.like(Predicate.from_sentence('the top drawer is open'))
    denied = facts.like(Predicate.from_sentence('the top drawer is not open'))
    assert said is not None and denied is not None
    np.testing.assert_allclose(said[0], -denied[0], atol=1e-5)
    assert FACTS[int(np.abs(said[0]).argmax())] == 'open(top drawer)' and said[0].max() > 0
    assert said[1] == pytest.approx(denied[1], abs=1e-5) and said[1] > NEARLY
    assert facts.like(Predicate.from_sentence('the stock market is up')) is None


def test_facts_change_the_order_of_a_search(index: Path, binder: Binder) -> None:
    sentence = 'the top drawer is open'
    store = MomentStore(str(index))

    def first(**options: Any) -> list[Any]:
        return find_sentence(
            store, binder, sentence, modalities=['depth', 'image'], top=24, apart_s=0.0, **options
        )

    fast = first(again=Rereading(0))
    weights, _ = FactReader.of(binder).like(Predicate.from_sentence(sentence))  # type: ignore[union-attr,misc]
    told = []
    for moment in fast:
        near = store.at(moment.bag, moment.time_s, within_s=0.01)
        told.append(sum(float(e.facts @ weights) for e in near if e.facts is not None))
    half = len(told) // 2
    assert np.mean(told[:half]) > np.mean(told[half:])
    # The probability is that of the facts, which are calibrated.
    assert all(m.calibrated for m in fast)
    expected = 1 / (1 + np.exp(-np.array(told)))
    np.testing.assert_allclose([m.probability for m in fast], expected, atol=2e-3)
    assert {m.read_from for m in fast} == {'facts'} and len(first()) == len(fast)


def test_an_index_of_some_sensors_is_searched_by_facts(
    folder: Path, bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = str(folder), str(tmp_path / 'depth')
    words = ['index', *map(str, bags), '-o', path, '--model', model]
    assert main([*words, '--modality', 'depth']) == 0
    assert main(['search', path, 'the top drawer is open', '--model', model, '--fast']) == 0
    shown = capsys.readouterr()
    assert 'searched without' not in shown.err and 'not calibrated' not in shown.out
    assert main(words) == 0  # the other sensors can be added


def test_a_gone_bag_is_ordered_by_its_facts(
    folder: Path, bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, path = tmp_path / 'gone', str(tmp_path / 'index')
    shutil.copytree(bags[0], gone)
    model = str(folder)
    assert main(['index', str(gone), str(bags[1]), '-o', path, '--model', model]) == 0
    shutil.rmtree(gone)
    words = ['search', path, 'the top drawer is open', '--model', model, '--modality', 'depth']
    assert main(words) == 0
    shown = capsys.readouterr()
    assert 'ordered by their facts' in shown.err and 'ordered by its facts' in shown.out


def test_other_readouts_do_not_add_to_an_index(
    index: Path, folder: Path, bags: list[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = tmp_path / 'other'
    shutil.copytree(folder, other)
    made = some_calibration(Binder.load(other), FACTS[:2], modalities=('depth',))
    made.save(other, file=CALIBRATION)
    words = ['index', str(bags[0]), '-o', str(index), '--model', str(other)]
    assert main(words) == 2
    assert 'make it anew' in capsys.readouterr().err
    # They still search it, by vectors and by the tokens of the bags.
    words = ['search', str(index), 'the drawer is open', '--modality', 'depth']
    assert main([*words, '--model', str(other)]) == 0
    assert 'searched without' in capsys.readouterr().err
