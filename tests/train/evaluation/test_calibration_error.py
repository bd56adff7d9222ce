"""Calibration errors: what they are of known cases, and what luck alone gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.evaluation.calibration_error import Predictions, balanced_error, calibration_error
from train.evaluation.metrics import expected_calibration_error


def exact(count: int, rng: np.random.Generator) -> Predictions:
    """Probabilities that are frequencies; both truths are about as frequent."""
    probability = rng.random(count)
    return Predictions(probability, rng.random(count) < probability)


def test_exact_probabilities_of_few_samples_have_only_random_error() -> None:
    rng = np.random.default_rng(0)
    found = calibration_error([exact(40, rng) for _ in range(200)])
    assert found.pooled < 0.03
    assert found.per_predicate > 0.1
    assert found.by_luck == pytest.approx(found.per_predicate, abs=0.03)


def test_wrong_probabilities_have_more_than_random_error() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.random(400) < 0.5 for _ in range(20)]
    sure = [Predictions(np.where(truth, 0.6, 0.4), truth) for truth in truths]
    found = calibration_error(sure)
    assert found.pooled == pytest.approx(0.4, abs=1e-6)
    assert found.per_predicate == pytest.approx(0.4, abs=1e-6)
    assert found.by_luck < 0.1


def test_how_often_a_predicate_holds_does_not_change_its_error() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(100)
    truth = rng.random(100) < 0.5
    rare = np.concatenate([np.flatnonzero(truth), np.repeat(np.flatnonzero(~truth), 5)])
    one = balanced_error(Predictions(probability, truth))
    assert balanced_error(Predictions(probability[rare], truth[rare])) == pytest.approx(one)


def test_no_predicate_is_an_error() -> None:
    with pytest.raises(ValueError, match='no predicate'):
        calibration_error([])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 4)), min_size=1))
def test_a_weight_counts_as_repetition(cases: list[tuple[float, bool, int]]) -> None:
    probability = np.array([p for p, _, _ in cases])
    truth = np.array([t for _, t, _ in cases])
    times = np.array([n for _, _, n in cases])
    weighted = expected_calibration_error(probability, truth, weights=times)
    repeated = expected_calibration_error(np.repeat(probability, times), np.repeat(truth, times))
    assert weighted == pytest.approx(repeated)
    assert 0 <= weighted <= 1
