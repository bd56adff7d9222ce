"""Splits of the benchmark on real recordings, on drawn ones of the same layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.real_contact import SETS, WORDINGS, inner_splits, load, splits_of, taught
from train.bags.samples import Samples
from train.phrasings import Phrasings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('real')
    rng = np.random.default_rng(0)
    runs, rows = 48, 40
    released = np.arange(runs) % 2 == 0
    torque = rng.normal(0, 0.02, (runs, rows))
    torque[~released, 5] -= 3.0
    np.savez(
        folder / 'unscrewing.npz',
        start=np.arange(runs + 1) * rows,
        torque_nm=torque.ravel(),
        angle_deg=np.tile(np.arange(rows) * 27.0, runs),
        time_s=np.tile(np.arange(rows) * 0.05, runs),
        released=released,
        size=np.repeat(['M4', 'M5', 'M8'], 16),
        head=np.tile(np.repeat(['Torx', 'Phillips'], 8), 3),
    )
    label = np.tile(['normal', 'collision', 'obstruction', 'fr_collision'], 45)
    np.savez(
        folder / 'execution_failures.npz',
        wrench=rng.normal(0, 30, (180, 15, 6)).round(),
        label=label,
        problem=np.repeat(['LP1', 'LP4', 'LP2'], 60),
    )
    np.savez(
        folder / 'grasp_stability.npz',
        taxels=rng.normal(2000, 300, (90, 3, 24)).round(),
        slipped=rng.integers(0, 2, 90).astype(bool),
        object=np.repeat([f'object{n:02d}' for n in range(15)], 6),
        hand=np.tile(['palm down', 'palm side', 'palm 45'], 30),
    )
    return folder


@pytest.fixture(scope='module', params=SETS)
def loaded(request: pytest.FixtureRequest, data: Path) -> tuple[str, Samples]:
    return request.param, load(request.param, data)


def test_training_and_test_never_share_a_group(loaded: tuple[str, Samples]) -> None:
    name, samples = loaded
    assert len(samples)
    assert (samples.truth >= 0).all()
    for split, folds in splits_of(name, samples).items():
        for train, test in folds:
            assert len(train)
            assert len(test)
            assert not set(train) & set(test)
            if not split.startswith('within'):  # windows of one motion have no other group
                assert not set(samples.bag[train]) & set(samples.bag[test])


def test_settings_are_chosen_on_the_training_part(loaded: tuple[str, Samples]) -> None:
    name, samples = loaded
    first = next(iter(splits_of(name, samples).values()))
    allowed = set(first[0][0])
    for folds in inner_splits(name, samples).values():
        for train, test in folds:
            assert {*train, *test} <= allowed


def test_a_clear_predicate_is_taught_by_few_examples(data: Path) -> None:
    samples = load('unscrewing', data)
    splits = {'other sizes': splits_of('unscrewing', samples)['other sizes']}
    table = taught(samples, splits, SETS['unscrewing'].recipe('fixed', seed=0))
    row = table['other sizes']['loose(screw)']
    assert row['10'] > 0.95


def test_trained_and_unseen_sentences_differ() -> None:
    sides = [
        {
            sentence
            for wording in Phrasings.load(
                ROOT / f'config/recordings/{name}.yaml'
            ).relations.values()
            for sentence in (*wording.positive, *wording.negative)
        }
        for name in WORDINGS
    ]
    assert not sides[0] & sides[1]
