"""Calibration error of probabilities: over all predicates, per predicate, and by chance alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from train.evaluation.metrics import expected_calibration_error

Floats = NDArray[np.floating]
DRAWS = 20


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one predicate: probabilities `[N]`, and the known truth, bool `[N]`."""

    probability: Floats
    truth: NDArray[np.bool_]

    @property
    def weights(self) -> Floats:
        """Weights `[N]` with sum 1; true and false have equal totals, as when lines are fitted."""
        true = int(self.truth.sum())
        weights: Floats = np.where(
            self.truth, 0.5 / max(true, 1), 0.5 / max(len(self.truth) - true, 1)
        )
        return weights


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration errors, with equal total weights of true and false samples.

    Attributes:
        pooled: Error over the predictions of all predicates together, weighted equally.
        per_predicate: Median of the errors of the single predicates.
        by_luck: Value of `per_predicate` if every probability were exact: with few true or false
            samples, frequencies differ from probabilities by chance.
    """

    pooled: float
    per_predicate: float
    by_luck: float


def balanced_error(one: Predictions) -> float:
    """Calibration error of one predicate, with equal total weights of true and false samples."""
    return expected_calibration_error(one.probability, one.truth, weights=one.weights)


def calibration_error(predicates: Sequence[Predictions], *, seed: int = 0) -> CalibrationError:
    """Compute the calibration errors of several predicates.

    Raises:
        ValueError: There is no predicate.
    """
    if not predicates:
        raise ValueError('no predicate has enough moments of both truths')
    rng = np.random.default_rng(seed)
    pooled = expected_calibration_error(
        np.concatenate([one.probability for one in predicates]),
        np.concatenate([one.truth for one in predicates]),
        weights=np.concatenate([one.weights for one in predicates]),
    )
    return CalibrationError(
        pooled=round(pooled, 3),
        per_predicate=round(median(map(balanced_error, predicates)), 3),
        by_luck=round(median(_error_by_luck(one, rng) for one in predicates), 3),
    )


def _error_by_luck(one: Predictions, rng: np.random.Generator) -> float:
    """Mean error of exact probabilities of the same distribution, with as many true and false."""
    errors = []
    odds = {True: one.weights * one.probability, False: one.weights * (1 - one.probability)}
    shares = {truth: weight / weight.sum() for truth, weight in odds.items()}
    for _ in range(DRAWS):
        drawn = [
            rng.choice(one.probability, int((one.truth == truth).sum()), p=shares[truth])
            for truth in (True, False)
        ]
        truth = np.arange(len(one.truth)) < len(drawn[0])
        errors.append(balanced_error(Predictions(np.concatenate(drawn), truth)))
    return float(np.mean(errors))
