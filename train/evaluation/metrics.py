"""Metrics of retrieval, classification and calibration, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

Floats = NDArray[Any]
RECALLS = (1, 5, 10)
RESAMPLES = 1000
LEVELS = (0.025, 0.975)  # quantiles of a 95 % percentile interval
ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval over resampled cases; `count` is the number of cases."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f'{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]'


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Retrieval metrics.

    Attributes:
        recall: Share of queries with a correct answer among the first k, by k.
        median_rank: Median rank of the first correct answer, from 1.
        candidates: Number of candidates per query.
        chance: Recall at 1 of a random order.
    """

    recall: dict[int, Measured]
    median_rank: Measured
    candidates: int
    chance: float

    def times_chance(self, k: int) -> float:
        """Recall at k divided by that of a random order, for one correct answer per query."""
        return self.recall[k].value / min(1.0, k * self.chance)


def retrieval(
    similarity: Floats,
    relevant: NDArray[np.bool_],
    *,
    clusters: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Retrieval:
    """Measure retrieval of `C` candidates by `Q` queries.

    Args:
        similarity: `[Q, C]`.
        relevant: bool `[Q, C]`; queries without a correct answer are ignored.
        clusters: `[Q]`, see `bootstrap`.
        seed: Seed of the bootstrap draws.

    Raises:
        ValueError: No query has a correct answer.
    """
    asked = relevant.any(axis=1)
    if not asked.any():
        raise ValueError('no query has a right answer among the candidates')
    ranks = first_ranks(similarity[asked], relevant[asked])
    drawn = None if clusters is None else clusters[asked]

    def measured(cases: Floats, measure: Callable[[Floats], Any]) -> Measured:
        return bootstrap(cases.astype(float), measure, clusters=drawn, seed=seed)

    return Retrieval(
        recall={k: measured(ranks <= k, np.mean) for k in RECALLS},
        median_rank=measured(ranks, np.median),
        candidates=similarity.shape[1],
        chance=float(relevant[asked].mean()),
    )


def first_ranks(similarity: Floats, relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rank of the best correct answer of each query, from 1; half of the ties rank above it."""
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    wrong = ~relevant
    above = ((similarity > best) & wrong).sum(axis=1)
    tied = ((similarity == best) & wrong).sum(axis=1)
    return np.asarray(1 + above + (tied + 1) // 2, np.int64)


def top1(scores: Floats, labels: NDArray[np.int64], *, seed: int = 0) -> Measured:
    """Share of rows of scores `[N, C]` whose largest score is at their label `[N]`."""
    return bootstrap((scores.argmax(axis=1) == labels).astype(float), np.mean, seed=seed)


def confusion(scores: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Confusion counts `[C, C]`: rows are labels, columns are predictions (largest score)."""
    found = confusion_matrix(labels, scores.argmax(axis=1), labels=range(scores.shape[1]))
    return np.asarray(found, np.int64)


def bootstrap(
    cases: Floats,
    measure: Callable[[Floats], Any],
    *,
    clusters: NDArray[np.int64] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measured:
    """Compute a metric of cases `[N, ...]` with its 95 % percentile interval (Efron 1979).

    Args:
        cases: Values of the cases.
        measure: Computes the metric from a resample of the cases.
        clusters: `[N]`, cluster of each case; cases of a cluster are drawn together, as samples of
            a bag; None draws single cases.
        seed: Seed of the bootstrap draws.
        resamples: Number of draws.
    """
    rng = np.random.default_rng(seed)
    together = np.arange(len(cases)) if clusters is None else clusters
    order = np.argsort(together, kind='stable')
    parts = np.split(order, np.flatnonzero(np.diff(together[order])) + 1)

    def draw() -> Floats:
        chosen = [parts[k] for k in rng.integers(0, len(parts), len(parts))]
        return np.asarray(cases[np.concatenate(chosen)])

    values = [float(measure(draw())) for _ in range(resamples)]
    low, high = np.quantile(values, LEVELS)
    return Measured(float(measure(cases)), float(low), float(high), len(cases))


def expected_calibration_error(
    probability: Floats,
    truth: NDArray[np.bool_],
    *,
    weights: Floats | None = None,
    bins: int = ECE_BINS,
) -> float:
    """Mean gap between probability and frequency over equal bins (Guo et al. 2017, eq. 3).

    Args:
        probability: `[N]`, in 0..1.
        truth: bool `[N]`.
        weights: Weights of the cases, `[N]`; None for equal weights.
        bins: Number of bins of equal width.
    """
    share = np.ones(len(truth)) if weights is None else np.asarray(weights)
    where = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    gaps = np.bincount(where, weights=share * (truth - np.asarray(probability, np.float64)))
    return float(np.abs(gaps).sum() / share.sum())
