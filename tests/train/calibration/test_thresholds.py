"""Thresholds by the cost of errors, on scores whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.predicates.file import load_predicates
from encoders.text.minilm import text_tower
from train.bags.samples import Samples
from train.calibration.calibrate import calibrate
from train.calibration.thresholds import (
    Costs,
    ThresholdFit,
    fit_thresholds,
    held_out_odds,
    split_bags,
    write_predicates,
)
from train.phrasings import Phrasings

NAME = 'open(top drawer)'
EVEN = Costs()


def fits(
    costs: Costs = EVEN, *, method: str = 'platt', noise: float = 0.05, seed: int = 0
) -> ThresholdFit:
    rng = np.random.default_rng(seed)
    truth = rng.random(600) < 0.3
    sees = (0.1 * truth + rng.normal(0, noise, 600)).astype(np.float32)
    blind = rng.normal(0, 0.1, 600).astype(np.float32)
    (found,) = fit_thresholds(
        {'depth': sees[:, None], 'audio': blind[:, None]},
        truth[:, None].astype(np.int8),
        [NAME],
        bags=np.arange(600) // 50,
        useful={NAME: np.array([True, False])},
        costs=costs,
        method=method,
    )
    return found


def test_an_expensive_error_becomes_rare() -> None:
    even = fits()
    careful = fits(Costs(false_positive=10.0))
    eager = fits(Costs(false_negative=10.0))
    assert careful.threshold_on > even.threshold_on > eager.threshold_on
    assert careful.false_positives < even.false_positives < eager.false_positives
    assert careful.false_negatives > even.false_negatives > eager.false_negatives
    for found in (even, careful, eager):
        assert found.threshold_off < found.threshold_on
        assert found.modalities == ('depth',)
        assert found.auroc > 0.85


@pytest.mark.parametrize('method', ['platt', 'isotonic', 'auto'])
def test_probabilities_of_held_out_bags_are_calibrated(method: str) -> None:
    found = fits(method=method)
    assert found.ece['platt'] < 0.07
    assert found.ece['isotonic'] < 0.09
    assert found.method == method or method == 'auto'
    assert (found.false_positives + found.false_negatives) / found.moments < 0.25


def test_held_out_odds_are_those_of_the_calibration_without_the_part() -> None:
    """Lines and weights alike: a predicate's weights are those of its relation."""
    rng = np.random.default_rng(4)
    names = ['open(top drawer)', 'open(microwave)', 'hot(stove)']
    truth = (rng.random((300, 3)) < 0.4).astype(np.int8)
    truth[rng.random((300, 3)) < 0.1] = -1
    scores = {
        m: (0.1 * gap * (truth == 1) + rng.normal(0, 0.06, (300, 3))).astype(np.float32)
        for m, gap in {'depth': 1.0, 'image': 0.5, 'audio': 0.0}.items()
    }
    parts = np.arange(300) // 60
    odds = held_out_odds(scores, truth, names, parts)
    rest, inside = parts != 2, parts == 2
    samples = Samples(
        inputs={},
        truth=truth[rest],
        predicates=tuple(names),
        bag=parts[rest],
        times_s=np.zeros(rest.sum()),
        bags=('a',) * 5,
        regions=np.zeros((rest.sum(), 64, 64), np.uint8),
        region_names=(),
    )
    others = {m: table[rest] for m, table in scores.items()}
    embed = text_tower('minilm-l6-v2').embed
    fitted = calibrate(
        others, samples, space='s', embed=embed, phrasings=Phrasings.load('trained')
    )
    assert list(fitted.names) == names
    np.testing.assert_array_equal(fitted.weights[0], fitted.weights[1])
    for row, _ in enumerate(names):
        wanted = sum(
            fitted.weights[row, k]
            * (fitted.slopes[row, k] * scores[m][inside, row] + fitted.offsets[row, k])
            for k, m in enumerate(fitted.modalities)
        )
        np.testing.assert_allclose(odds[inside, row], wanted, atol=1e-4)


def test_predicates_unknown_to_the_other_folds_get_no_threshold() -> None:
    truth = np.zeros((80, 1), np.int8)
    truth[:20:2] = 1  # true in the first bag alone
    found = fit_thresholds(
        {'depth': truth.astype(np.float32)},
        truth,
        [NAME],
        bags=np.arange(80) // 20,
        useful={NAME: np.array([True])},
        costs=EVEN,
        folds=4,
    )
    assert found == []


@given(st.lists(st.integers(0, 9), min_size=2, max_size=80), st.integers(2, 6))
def test_no_bag_is_split(bags: list[int], folds: int) -> None:
    parts = split_bags(np.array(bags), folds)
    for bag in set(bags):
        assert len(set(parts[np.array(bags) == bag])) == 1
    assert len(set(parts)) == min(folds, len(set(bags)))


def test_the_file_is_what_the_robot_loads(tmp_path: Path) -> None:
    other = {'a drawer is open': {'positive': ['it is open'], 'negative': ['it is closed']}}
    write_predicates(
        tmp_path / 'p.yaml', [fits()], Phrasings.load('trained'), model='mine', existing=other
    )
    kept, decided = load_predicates(tmp_path / 'p.yaml')
    assert kept.name == 'a drawer is open'
    assert decided.name == NAME
    assert decided.modalities == ('depth',)
    assert decided.threshold_on == fits().threshold_on
    assert decided.positive == Phrasings.load('trained').sentences(NAME).positive
