"""Moments of an index that are encoded again from their bags, and ordered by their tokens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import Binder, Predicate, PredicateBank, decode_image
from lb_ros.cli import main
from tests.readouts import copy_with_readouts
from train.bags.reader import BagReport, read_bag
from train.score.embed import BagSource
from train.score.windows import SensorTopics
from train.search.find import find_sentence
from train.search.index import index_bag
from train.search.reread import key_of, reread
from train.search.store import About, MomentStore

pytest.importorskip('lancedb')

MOMENTS = [{'open(top drawer)': i > 5, 'dropped(something)': i == 7} for i in range(12)]
SENSORS = ('image', 'depth', 'infrared', 'audio')
SENTENCE = 'the drawer is open'


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
    found = reread(binder, entries)
    read = [e for e in entries if e.modality != 'infrared']
    assert {key_of(e) for e in read} == set(found.evidence) and not found.gone
    for entry in read:
        evidence = found.evidence[key_of(entry)]
        assert evidence.tokens is not None
        np.testing.assert_allclose(evidence.vector, entry.vector, atol=5e-3)
    depth = next(e for e in read if e.modality == 'depth')
    message = next(
        m.message
        for m in read_bag(bags[0], topics=['depth/image'])
        if m.stamp_ns == depth.stamp_ns
    )
    expected = binder.observe(depth=decode_image(message, modality='depth').array)['depth']
    found_tokens = found.evidence[key_of(depth)].tokens
    np.testing.assert_allclose(found_tokens, expected.tokens, atol=2e-2)


def test_answers_are_ordered_by_tokens_unless_fast(store: MomentStore, binder: Binder) -> None:
    def search(**options: Any) -> list[Any]:
        return find_sentence(
            store, binder, SENTENCE, modalities=['depth'], top=4, apart_s=1.0, **options
        )

    slow, fast = search(), search(reread_count=0)
    assert {m.read_from for m in slow} == {'tokens'}
    assert {m.read_from for m in fast} == {'vector'}
    bank = PredicateBank([Predicate.from_sentence(SENTENCE)], binder)
    for moment in slow:
        message = next(
            m.message
            for m in read_bag(Path(moment.bag), topics=['depth/image'])
            if m.stamp_ns == moment.stamp_ns
        )
        array = decode_image(message, modality='depth').array
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
        store, binder, SENTENCE, modalities=['depth'], top=8, apart_s=1.0, problem=lines.append
    )
    by_bag = {m.bag: m.read_from for m in found}
    assert by_bag == {str(bags[0].resolve()): 'tokens', str(bags[1].resolve()): 'vector'}
    assert len(lines) == 1
    assert str(bags[1]) in lines[0] and 'ordered by their vectors' in lines[0]
    words = ['search', store.uri, SENTENCE, '--modality', 'depth', '--model', str(folder)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert 'ordered by their vectors' in shown.err
    assert 'not calibrated' in shown.out
    assert main([*words, '--fast']) == 0
    assert 'ordered by their vectors' not in capsys.readouterr().err
