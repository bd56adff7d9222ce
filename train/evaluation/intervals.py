"""Confidence intervals over episodes: whole bags are resampled, as samples of a bag are similar.

This is a bootstrap (Efron 1979) of clusters (Davison & Hinkley 1997, section 3.8). An AUROC is a
sum over pairs of a true and a false sample. The contribution of every pair of bags to this sum is
counted once; each resample only weights these counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.bags.samples import Samples
from train.evaluation.metrics import LEVELS, RESAMPLES

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Resampled:
    """AUROCs on `R` resamples of the bags.

    Attributes:
        areas: AUROCs `[R]` by predicate and modality; NaN if a resample is all true or all false.
    """

    areas: Mapping[tuple[str, str], Floats]

    def interval(self, name: str, modality: str) -> Interval | None:
        """Interval of one predicate in one modality."""
        return interval_of(self.areas[name, modality])

    def median_interval(self, chosen: Sequence[tuple[str, str]]) -> Interval | None:
        """Interval of the median over predicates, each in its modality, on the same resamples."""
        known = np.stack([self.areas[one] for one in chosen], axis=1)
        return interval_of(np.array([_median(row) for row in known]))


def resample(
    scores: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Draw bags with replacement and compute all AUROCs on each draw; NaN if there is one bag.

    Args:
        scores: Scores `[N, P]` by modality; NaN where a predicate was not read.
        samples: The samples, with truth and bags.
        seed: Seed of the bootstrap draws.
        resamples: Number of draws `R`.
    """
    count = len(samples.bags)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    areas = {}
    for column, name in enumerate(samples.predicates):
        for modality, table in scores.items():
            known = (samples.truth[:, column] >= 0) & ~np.isnan(table[:, column])
            truth = samples.truth[known, column] == 1
            if truth.all() or not truth.any():
                continue
            areas[name, modality] = (
                resampled_auroc(truth, table[known, column], bags=samples.bag[known], drawn=drawn)
                if count > 1
                else np.full(resamples, np.nan)
            )
    return Resampled(areas)


def resampled_auroc(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    bags: NDArray[np.int64],
    drawn: Floats,
) -> Floats:
    """AUROC `[R]` of samples `[n]`; resample `r` contains bag `b` `drawn[r, b]` times."""
    order = np.argsort(scores, kind='stable')
    ranked = scores[order]
    member = np.zeros((len(order), drawn.shape[1]))
    member[np.arange(len(order)), bags[order]] = 1.0
    true = truth[order]
    false_so_far = np.zeros((len(order) + 1, drawn.shape[1]))
    np.cumsum(member * ~true[:, None], axis=0, out=false_so_far[1:])
    below = false_so_far[np.searchsorted(ranked, ranked[true], side='left')]
    not_above = false_so_far[np.searchsorted(ranked, ranked[true], side='right')]
    # Pairs of bags: true samples of one ranked above false samples of the other; ties count half.
    won = member[true].T @ (0.5 * (below + not_above))
    pairs = (drawn @ member[true].sum(0)) * (drawn @ member[~true].sum(0))
    total = ((drawn @ won) * drawn).sum(1)
    areas: Floats = np.divide(total, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)
    return areas


def interval_of(values: Floats) -> Interval | None:
    """The 95 % percentile interval; None if all values are NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, LEVELS)
    return round(float(low), 4), round(float(high), 4)


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float('nan')
