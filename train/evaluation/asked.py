"""Predicates asked in other ways: accuracy by group, and whether the answers are exclusive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from train.bags.samples import TRUE, UNKNOWN, Samples
from train.evaluation.evaluate import GROUPS, PredicateResult, group_members, results_of
from train.evaluation.intervals import Interval, Resampled
from train.evaluation.reading import FUSED, OPPOSITE, Asked, Readings

# Groups of the reports; they overlap.
SHOWN_GROUPS: Mapping[str, Sequence[str]] = {
    **GROUPS,
    'open': ('open',),
    'in': ('in',),
    'on': ('on',),
}
# Probabilities of a sentence and its denial may differ from a sum of 1 by this much.
EXCLUSIVE_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Accuracy of the predicates of a group with at least 5 true and 5 false samples.

    Attributes:
        predicates: Number of predicates.
        median, lowest: Of their AUROCs.
        below_half: Number of predicates with an AUROC below 0.5.
        interval: 95 % interval of the median, over bags; None if it was not requested.
        largest_change: Largest difference of the AUROC of a predicate to the same predicate asked
            with all its sentences; 0 for that way itself.
    """

    predicates: int
    median: float
    lowest: float
    below_half: int
    interval: Interval | None = None
    largest_change: float = 0.0


@dataclass(frozen=True, slots=True)
class Exclusive:
    """Whether a sentence and its denial exclude each other.

    Attributes:
        predicates: Number of predicates whose two probabilities are calibrated.
        not_calibrated: Number of predicates of which one of them is not.
        largest: Largest distance of the sum of both from 1, over all samples.
        violated: Predicates with a distance of more than `EXCLUSIVE_MARGIN` at any sample.
    """

    predicates: int
    not_calibrated: int
    largest: float
    violated: list[str]


def asked_results(
    readings: Mapping[Asked, Readings], asked: Asked, samples: Samples
) -> list[PredicateResult]:
    """Results of one way of asking; those of opposites are compared with the opposite truth."""
    scores = readings[asked].scores
    if asked.way in OPPOSITE:
        scores = {m: -table for m, table in scores.items()}
    return results_of(scores, samples)


def group_results(
    results: Sequence[PredicateResult],
    best: Mapping[str, str],
    *,
    resampled: Resampled | None = None,
    reference: Sequence[PredicateResult] = (),
) -> dict[str, GroupResult]:
    """Summaries of all `SHOWN_GROUPS` with members.

    Args:
        results: Results by predicate and modality.
        best: Modality by relation, or `fused`.
        resampled: Source of the intervals; None for none.
        reference: Results of the same predicates to compare with.
    """
    known = {(r.name, r.modality): r.auroc for r in reference}
    found = {}
    for group, members in group_members(results, best=best, groups=SHOWN_GROUPS).items():
        areas = [r.auroc for r in members]
        changes = [abs(r.auroc - known.get((r.name, r.modality), r.auroc)) for r in members]
        chosen = [(r.name, r.modality) for r in members]
        found[group] = GroupResult(
            predicates=len(members),
            median=round(median(areas), 3),
            lowest=round(min(areas), 3),
            below_half=sum(area < 0.5 for area in areas),
            interval=resampled.median_interval(chosen) if resampled else None,
            largest_change=round(max(changes), 3),
        )
    return found


def exclusive(
    readings: Mapping[Asked, Readings], wording: str, names: Sequence[str]
) -> Exclusive | None:
    """Compare the fused probabilities of sentences and their denials; None without a calibration.

    Args:
        readings: By way of asking.
        wording: The wording whose sentences were denied.
        names: Names of the predicates.
    """
    said, denied = (readings[Asked(wording, way)] for way in ('sentence', 'denial'))
    if FUSED not in said.scores:
        return None
    both = said.calibrated & denied.calibrated
    sums = expit(said.scores[FUSED]) + expit(denied.scores[FUSED])
    read = ~np.isnan(sums).all(axis=0)
    distance = np.where(read, np.nan_to_num(np.abs(sums - 1)).max(axis=0, initial=0.0), 0.0)
    return Exclusive(
        predicates=int((read & both).sum()),
        not_calibrated=int((read & ~both).sum()),
        largest=round(float(distance[both].max(initial=0.0)), 3),
        violated=[
            name
            for name, is_fit, far in zip(names, both, distance, strict=True)
            if is_fit and far > EXCLUSIVE_MARGIN
        ],
    )


def only_visible(samples: Samples, hidden: NDArray[np.bool_]) -> Samples:
    """The samples, with facts about things that are not in view unknown."""
    return replace(samples, truth=np.where(hidden, UNKNOWN, samples.truth).astype(np.int8))


def true_while_hidden(samples: Samples, hidden: NDArray[np.bool_]) -> Samples:
    """The samples, where facts that are true of things in view are unknown.

    What remains is true while something of it is hidden, and is compared with all false samples.
    """
    seen = (samples.truth == TRUE) & ~hidden
    return replace(samples, truth=np.where(seen, UNKNOWN, samples.truth).astype(np.int8))
