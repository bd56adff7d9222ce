"""Scoring with a model set that reads tokens: the numbers of the bank, and bounded space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders import Binder, Predicate, PredicateBank, decode_image
from lb_ros.cli import main
from tests.readouts import copy_with_readouts
from train.bags.reader import BagReport, read_bag
from train.score import embed
from train.score.embed import BagSource, embed_bag
from train.score.track import track
from train.score.windows import SensorTopics

MOMENTS = [{'open(top drawer)': i % 4 > 1, 'hot(stove)': i > 5} for i in range(10)]
DRAWER = Predicate('drawer', ('the top drawer is open',), ('the top drawer is closed',))
STOVE = Predicate('stove', ('the stove is hot',), ('the stove is cold',), ('infrared',))
SENSORS = ('image', 'depth', 'infrared', 'audio')
PREDICATES = """
predicates:
  drawer: {positive: [the top drawer is open], negative: [the top drawer is closed]}
"""


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('set') / 'with_readouts'
    return copy_with_readouts(tiny_model_set, target, modalities=('depth', 'image'))


@pytest.fixture(scope='module')
def binder(folder: Path) -> Binder:
    return Binder.load(folder)


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(drawn.write(tmp_path_factory.mktemp('bags') / 'kitchen', MOMENTS))


def embedded(binder: Binder, bag: Path, store: Path, *predicates: Predicate, **more: Any) -> Any:
    source = BagSource(bag, SensorTopics(), SENSORS, 15.0)
    return embed_bag(
        binder, source, store=store, report=BagReport(bag), predicates=predicates, **more
    )


def test_scores_are_read_from_tokens_as_the_bank_reads_them(
    bag: Path, folder: Path, binder: Binder, tmp_path: Path
) -> None:
    file, out = tmp_path / 'predicates.yaml', tmp_path / 'scores.parquet'
    file.write_text(PREDICATES)
    words = ['score', str(bag), '--predicates', str(file), '--model', str(folder)]
    assert main([*words, '-o', str(out), '--precision', 'fp32', '--no-timeline']) == 0
    message = next(read_bag(bag, topics=['depth/image'])).message
    evidence = binder.observe(depth=decode_image(message, modality='depth').array)
    (expected,) = PredicateBank([DRAWER], binder).score(evidence)
    row = next(row for row in pq.read_table(out).to_pylist() if row['modality'] == 'depth')
    assert row['probability'] == pytest.approx(expected.probability['depth'], abs=1e-4)
    assert row['similarity'] == pytest.approx(expected.similarity['depth'], abs=1e-4)
    by_vector = PredicateBank([DRAWER], binder).score({'depth': evidence['depth'].vector})
    assert abs(by_vector[0].probability['depth'] - expected.probability['depth']) > 1e-3


def test_only_sensors_with_readouts_and_asked_predicates_are_read(
    bag: Path, binder: Binder, tmp_path: Path
) -> None:
    found = embedded(binder, bag, tmp_path / 's', DRAWER, STOVE)
    read = ~np.isnan(found.token_odds)
    has_readout = np.isin(found.modality, ('depth', 'image'))
    np.testing.assert_array_equal(read[:, 0], has_readout)
    assert not read[:, 1].any()
    vectors_only = embedded(binder, bag, tmp_path / 'v')
    assert vectors_only.token_odds is None
    assert len(found.evidence()) == len(found.evidence().token_odds) == len(found)
    reasons = [
        m.evaluation.scores[0].reasons for m in track(binder, [DRAWER, STOVE], vectors_only)
    ]
    assert any('depth read from the vector' in each for each in reasons)
    assert all(
        'depth read from the vector' not in m.evaluation.scores[0].reasons
        for m in track(binder, [DRAWER, STOVE], found)
    )


def test_an_interrupted_run_goes_on_without_tokens_on_disk(
    bag: Path, binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, 'PART_WINDOWS', 8)
    whole = embedded(binder, bag, tmp_path / 'a', DRAWER)

    def stop(log_ns: int) -> None:
        if len(list((tmp_path / 'b').glob('*.npz'))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded(binder, bag, tmp_path / 'b', DRAWER, progress=stop)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / 'b').glob('*.npz')}
    again = embedded(binder, bag, tmp_path / 'b', DRAWER)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    np.testing.assert_allclose(whole.token_odds, again.token_odds, atol=1e-4)
    plain = embedded(binder, bag, tmp_path / 'c')
    sizes = {name: sum(p.stat().st_size for p in (tmp_path / name).glob('*.npz')) for name in 'ac'}
    parts = len(list((tmp_path / 'a').glob('*.npz')))
    # Four bytes for each predicate, and what NumPy writes about one more array.
    assert sizes['a'] - sizes['c'] <= 4 * len(plain) + 512 * parts


def test_other_predicates_or_readouts_are_read_again(
    bag: Path, binder: Binder, tiny_model_set: Path, tmp_path: Path
) -> None:
    first = embedded(binder, bag, tmp_path / 's', DRAWER)
    turned = Predicate('closed', DRAWER.negative, DRAWER.positive)
    second = embedded(binder, bag, tmp_path / 's', turned)
    np.testing.assert_allclose(second.token_odds, -first.token_odds, atol=1e-4)
    other = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=('image', 'depth'))
    third = embedded(Binder.load(other), bag, tmp_path / 's', turned)
    read = ~np.isnan(first.token_odds)
    assert not np.allclose(third.token_odds[read], second.token_odds[read], atol=1e-3)
    np.testing.assert_allclose(third.vectors, second.vectors, atol=1e-5)
