"""Moments of an index that are encoded again from their bags, and ordered by their tokens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.model_sets.readouts import CALIBRATION
from lb_ros.cli import main
from tests.readouts import copy_with_readouts, some_calibration
from tests.train.search.recorded import depth_at
from train.bags.reader import BagReport
from train.score.embed import BagSource
from train.score.facts import FactReader
from train.score.windows import SensorTopics
from train.search.find import find_sentence
from train.search.index import index_bag
from train.search.like import example_at, find_like
from train.search.reread import Rereading, key_of, reread
from train.search.store import About, MomentStore

pytest.importorskip('lancedb')

MOMENTS = [{'open(top drawer)': i > 5, 'dropped(something)': i == 7} for i in range(12)]
SENSORS = ('image', 'depth', 'infrared', 'audio')
SENTENCE = 'the drawer is open'
FACTS = ('open(top drawer)', 'dropped(something)', 'hot(stove)')


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('set') / 'with_readouts'
    return copy_with_readouts(tiny_model_set, target, modalities=('depth', 'image', 'audio'))


@pytest.fixture(scope='module')
def binder(folder: Path) -> Binder:
    return Binder.load(folder)


@pytest.fixture
def bags(drawn: Any, tmp_path: Path) -> list[Path]:
    return [drawn.write(tmp_path / f'bag{k}', MOMENTS, seed=k) for k in range(2)]


@pytest.fixture
def store(binder: Binder, bags: list[Path], tmp_path: Path) -> MomentStore:
    made = MomentStore(str(tmp_path / 'i'), About(binder.space, binder.model, 384))
    for bag in bags:
        source = BagSource(bag, SensorTopics(), SENSORS, 0.0)
        index_bag(binder, source, made, work=tmp_path / 'i', report=BagReport(bag))
    return made


def test_the_windows_of_the_index_are_found_again(
    store: MomentStore, binder: Binder, bags: list[Path]
) -> None:
    entries = store.at(str(bags[0].resolve()), 2.0, within_s=1.2)
    shares: list[float] = []
    found = reread(binder, entries, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    read = [e for e in entries if e.modality != 'infrared']
    assert {key_of(e) for e in read} == set(found.evidence) and not found.gone
    for entry in read:
        evidence = found.evidence[key_of(entry)]
        assert evidence.tokens is not None
        np.testing.assert_allclose(evidence.vector, entry.vector, atol=5e-3)
    depth = next(e for e in read if e.modality == 'depth')
    expected = binder.observe(depth=depth_at(bags[0], depth.stamp_ns))['depth']
    found_tokens = found.evidence[key_of(depth)].tokens
    np.testing.assert_allclose(found_tokens, expected.tokens, atol=2e-2)


def test_answers_are_ordered_by_tokens_unless_fast(store: MomentStore, binder: Binder) -> None:
    def search(**options: Any) -> list[Any]:
        return find_sentence(
            store, binder, SENTENCE, modalities=['depth'], top=4, apart_s=1.0, **options
        )

    slow, fast = search(), search(again=Rereading(0))
    assert {m.read_from for m in slow} == {'tokens'}
    assert {m.read_from for m in fast} == {'vector'}
    bank = PredicateBank([Predicate.from_sentence(SENTENCE)], binder)
    for moment in slow:
        array = depth_at(Path(moment.bag), moment.stamp_ns)
        (expected,) = bank.score(binder.observe(depth=array))
        assert moment.probability == pytest.approx(expected.fused, abs=1e-3)
    assert [m.score for m in slow] == sorted((m.score for m in slow), reverse=True)


def test_without_its_bag_a_moment_is_ordered_by_its_vector(
    store: MomentStore, binder: Binder, bags: list[Path], folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.rmtree(bags[1])
    lines: list[str] = []
    found = find_sentence(
        store,
        binder,
        SENTENCE,
        modalities=['depth'],
        top=8,
        apart_s=1.0,
        again=Rereading(problem=lines.append),
    )
    by_bag = {m.bag: m.read_from for m in found}
    assert by_bag == {str(bags[0].resolve()): 'tokens', str(bags[1].resolve()): 'vector'}
    assert len(lines) == 1
    assert str(bags[1]) in lines[0] and 'ordered by their vectors' in lines[0]
    words = ['search', store.uri, SENTENCE, '--modality', 'depth', '--model', str(folder)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert 'ordered by their vectors' in shown.err
    assert 'not calibrated' in shown.out and 'ordered by its vector' in shown.out
    assert 'ordered by its vector' in Path(store.uri, 'shown', 'index.html').read_text()
    assert main([*words, '--fast']) == 0
    shown = capsys.readouterr()
    assert 'ordered by' not in shown.err + shown.out


def never(bag: Path) -> Any:
    raise AssertionError(f'{bag} is in the index')


@pytest.fixture(scope='module')
def calibrated(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    target = tmp_path_factory.mktemp('calibrated') / 'set'
    shutil.copytree(folder, target)
    made = some_calibration(Binder.load(folder), FACTS, modalities=('depth', 'image'))
    made.save(target, file=CALIBRATION)
    return Binder.load(target)


def test_beliefs_are_the_probabilities_of_the_calibrated_facts(calibrated: Binder) -> None:
    facts = FactReader.of(calibrated)
    assert facts is not None
    depth = np.full((64, 64), 900, np.uint16)
    depth[:, 20:30] = 400
    evidence = calibrated.observe(depth=depth)['depth']
    assert isinstance(evidence, Evidence)
    found = facts.beliefs({'depth': evidence})
    assert found.shape == (3,) and (np.abs(found) < 1).all() and found.any()
    assert not facts.beliefs({'depth': Evidence(evidence.vector)}).any()


def test_an_example_is_compared_by_the_facts_that_hold(
    store: MomentStore, calibrated: Binder, binder: Binder
) -> None:
    bag = next(iter(store.bags()))
    example = example_at(store, f'{bag}@4.5s', embed=never)
    assert set(example.windows) == set(SENSORS)

    def search(model: Binder | None, **options: Any) -> list[Any]:
        return find_like(
            store, example, modalities=['depth'], top=6, apart_s=1.0, binder=model, **options
        )

    by_tokens = search(calibrated)
    assert {m.read_from for m in by_tokens} == {'tokens'}
    assert all(m.bag != bag or abs(m.time_s - 4.5) >= 1.0 for m in by_tokens)
    assert [m.score for m in by_tokens] == sorted((m.score for m in by_tokens), reverse=True)
    by_vectors = search(calibrated, again=Rereading(0))
    # Without a calibration no facts are known.
    assert search(None) == search(binder) == by_vectors
    assert {m.read_from for m in by_vectors} == {'vector'}


def test_a_gone_bag_does_not_stop_an_example(
    store: MomentStore, calibrated: Binder, bags: list[Path]
) -> None:
    example = example_at(store, f'{bags[0]}@4.5s', embed=never)
    shutil.rmtree(bags[1])
    lines: list[str] = []
    found = find_like(
        store,
        example,
        modalities=['depth'],
        top=12,
        apart_s=0.5,
        binder=calibrated,
        again=Rereading(problem=lines.append),
    )
    read_from = {(m.bag == str(bags[0].resolve()), m.read_from) for m in found}
    assert read_from == {(True, 'tokens'), (False, 'vector')}
    assert len(lines) == 1 and str(bags[1]) in lines[0]
