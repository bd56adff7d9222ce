"""Evaluation of a model set, separately for trained and unseen wording, with all counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from encoders import Binder
from encoders.model_sets.calibration import Calibration
from train.bags.samples import Samples
from train.evaluation.asked import (
    Exclusive,
    GroupResult,
    asked_results,
    exclusive,
    group_results,
    only_visible,
    true_while_hidden,
)
from train.evaluation.calibration_error import CalibrationError, Predictions, calibration_error
from train.evaluation.evaluate import (
    MIN_COUNT,
    PredicateResult,
    Vectors,
    best_modalities,
    group_medians,
    group_members,
    results_of,
)
from train.evaluation.intervals import Interval, Resampled, resample
from train.evaluation.metrics import Retrieval, retrieval
from train.evaluation.reading import FUSED, WAYS, Asked, ReadBags, Way
from train.evaluation.which_thing import NamedFirst, named_first
from train.phrasings import relation_of

WORDINGS = ('trained', 'unseen')
FUSION_MARGIN = 0.02
EMERGENT_MOMENTS = 1000


@dataclass(frozen=True, slots=True)
class RelationResult:
    """Median AUROC of the predicates of a relation, in its best modality and fused.

    Includes only predicates with at least 5 true and 5 false samples. Intervals: 95 %, over bags.
    """

    relation: str
    modality: str
    predicates: int
    auroc: float
    fused: float | None
    interval: Interval | None
    fused_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of one model set on one set of bags.

    Attributes:
        model, space: Names of the model set and its language space.
        bags, moments: Number of bags and of samples.
        results: By wording, one result per predicate and modality, including `fused`.
        best: Best modality by relation, chosen on the calibration data.
        medians, fused_medians: Median AUROC by wording and group, over predicates with at least 5
            true and 5 false samples.
        median_intervals, fused_median_intervals: Their 95 % intervals, over bags.
        relations: By wording, one result per relation.
        reversed_predicates: By wording, predicates with an AUROC below 0.5 in the best modality.
        fused_worse: By wording, predicates whose fused AUROC is lower than that in the best
            modality by more than `FUSION_MARGIN`.
        calibration_error: By wording, error of the fused probabilities of predicates with at least
            5 true and 5 false samples; empty without a calibration or such predicates.
        read_from: `tokens` or `vector`, by modality.
        groups: By wording and group, accuracy of the fused scores, or in the best modality without
            a calibration.
        asked: By wording, way of asking and group: the same for predicates that are asked in
            another way (`train.evaluation.reading.WAYS`).
        exclusive: By wording, whether a sentence and its denial exclude each other; empty without
            a calibration.
        below_best: By wording, predicates whose fused AUROC is lower than that of their best
            single sensor by more than `FUSION_MARGIN`. The best sensor of each predicate is chosen
            on the same samples, so that chance favours it.
        which_thing: By wording and question, how often the right name ranks first.
        visible: By wording and group, accuracy without facts about things that are not in view.
        hidden: By wording and group, accuracy of facts that are true of things that are not in
            view, compared with all samples in which they are false.
        hidden_facts: Number of true facts about things that are not in view.
        emergent: Retrieval of the same sample by another sensor, such as `depth -> infrared`; the
            two sensors were never compared in training.
    """

    model: str
    space: str
    bags: int
    moments: int
    results: dict[str, list[PredicateResult]]
    best: dict[str, str]
    medians: dict[str, dict[str, float]]
    fused_medians: dict[str, dict[str, float]]
    median_intervals: dict[str, dict[str, Interval | None]]
    fused_median_intervals: dict[str, dict[str, Interval | None]]
    relations: dict[str, list[RelationResult]]
    reversed_predicates: dict[str, list[str]]
    fused_worse: dict[str, list[str]]
    calibration_error: dict[str, CalibrationError]
    read_from: dict[str, str]
    groups: dict[str, dict[str, GroupResult]]
    asked: dict[str, dict[Way, dict[str, GroupResult]]]
    exclusive: dict[str, Exclusive]
    below_best: dict[str, list[str]]
    which_thing: dict[str, dict[str, NamedFirst]]
    visible: dict[str, dict[str, GroupResult]]
    hidden: dict[str, dict[str, GroupResult]]
    hidden_facts: int
    emergent: dict[str, Retrieval]


def evaluate_model_set(binder: Binder, read: ReadBags) -> Evaluation:
    """Evaluate all predicates of some bags in all wordings.

    Args:
        binder: The model set.
        read: What it reads of the bags (see `read_bags`).

    The best modality of a relation is that with the largest fusion weight in the calibration, so
    it is not chosen on the data that it is evaluated on.
    """
    samples, wordings = read.samples, list(dict.fromkeys(a.wording for a in read.readings))
    scores = {w: read.readings[Asked(w, 'sides')].scores for w in wordings}
    resampled = {w: resample(tables, samples) for w, tables in scores.items()}
    results = {w: results_of(t, samples, resampled=resampled[w]) for w, t in scores.items()}
    best = _best(binder) or best_modalities(results[wordings[0]])
    shown = {w: _all_fused(r) if FUSED in scores[w] else best for w, r in results.items()}
    calibrated = [w for w in wordings if FUSED in scores[w]]
    parts = {
        'visible': only_visible(samples, read.hidden),
        'hidden': true_while_hidden(samples, read.hidden),
    }
    apart = {
        kind: {w: group_results(results_of(scores[w], of), shown[w]) for w in wordings}
        for kind, of in parts.items()
    }
    errors = {w: _calibration_error(scores[w][FUSED], samples) for w in calibrated}
    exclusives = {w: exclusive(read.readings, w, samples.predicates) for w in calibrated}
    return Evaluation(
        model=binder.model,
        space=binder.space,
        bags=len(samples.bags),
        moments=len(samples),
        results=results,
        best=best,
        medians={w: group_medians(r, best=best) for w, r in results.items()},
        fused_medians={w: group_medians(r, best=_all_fused(r)) for w, r in results.items()},
        median_intervals={w: _group_intervals(r, best, resampled[w]) for w, r in results.items()},
        fused_median_intervals={
            w: _group_intervals(r, _all_fused(r), resampled[w]) for w, r in results.items()
        },
        relations={w: _relations(r, best, resampled[w]) for w, r in results.items()},
        reversed_predicates={w: _reversed(r, best) for w, r in results.items()},
        fused_worse={w: _fused_worse(r, best) for w, r in results.items()},
        calibration_error={w: found for w, found in errors.items() if found is not None},
        read_from={m: 'tokens' if m in binder.readouts else 'vector' for m in samples.inputs},
        groups={w: group_results(r, shown[w], resampled=resampled[w]) for w, r in results.items()},
        asked={w: _asked(read, w, shown[w], results[w]) for w in wordings},
        exclusive={w: found for w, found in exclusives.items() if found is not None},
        below_best={w: _below_best(results[w]) for w in calibrated},
        which_thing={w: named_first(scores[w], samples) for w in wordings},
        visible=apart['visible'],
        hidden=apart['hidden'],
        hidden_facts=int((read.hidden & (samples.truth == 1)).sum()),
        emergent=emergent_retrieval(samples.inputs, samples.bag),
    )


def _best(binder: Binder) -> dict[str, str]:
    """Best modality by relation in the calibration that its predicates are read with."""
    found: dict[str, str] = {}
    for calibration in (binder.calibration, binder.readout_calibration):
        if calibration is not None:
            found |= chosen(calibration)
    return found


def _asked(
    read: ReadBags, wording: str, shown: Mapping[str, str], reference: list[PredicateResult]
) -> dict[Way, dict[str, GroupResult]]:
    found = {}
    for way in WAYS[1:]:
        results = asked_results(read.readings, Asked(wording, way), read.samples)
        found[way] = group_results(results, shown, reference=reference)
    return found


def chosen(calibration: Calibration) -> dict[str, str]:
    """Modality with the largest total fusion weight, by relation."""
    sums: dict[str, NDArray[np.float32]] = {}
    for name, row in zip(calibration.names, calibration.weights, strict=True):
        relation = relation_of(name)
        sums[relation] = sums.get(relation, np.zeros(len(row), np.float32)) + np.nan_to_num(row)
    return {r: calibration.modalities[int(total.argmax())] for r, total in sums.items()}


def _calibration_error(odds: NDArray[np.float32], samples: Samples) -> CalibrationError | None:
    predicates = []
    for column in range(len(samples.predicates)):
        known = (samples.truth[:, column] >= 0) & ~np.isnan(odds[:, column])
        truth = samples.truth[known, column] == 1
        if min(truth.sum(), (~truth).sum()) >= MIN_COUNT:
            predicates.append(Predictions(expit(odds[known, column]), truth))
    return calibration_error(predicates) if predicates else None


def emergent_retrieval(
    vectors: Vectors, bags: NDArray[np.int64], *, limit: int = EMERGENT_MOMENTS
) -> dict[str, Retrieval]:
    """Retrieval of the same sample from one sensor by another, in all directions.

    Uses at most `limit` samples, evenly spread; samples that a sensor did not record count as
    misses. Intervals are over the bags `[N]` of the samples.
    """
    tables = {}
    for one, other in permutations(vectors, 2):
        count = len(vectors[one])
        rows = np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))
        if len(rows) > 1:
            cosines = vectors[one][rows] @ vectors[other][rows].T
            own = np.eye(len(rows), dtype=bool)
            tables[f'{one} -> {other}'] = retrieval(cosines, own, clusters=bags[rows])
    return tables


def _all_fused(results: list[PredicateResult]) -> dict[str, str]:
    return dict.fromkeys((relation_of(r.name) for r in results), 'fused')


def _group_intervals(
    results: list[PredicateResult], best: Mapping[str, str], resampled: Resampled
) -> dict[str, Interval | None]:
    members = group_members(results, best=best)
    return {group: _median_interval(found, resampled) for group, found in members.items()}


def _relations(
    results: list[PredicateResult], best: Mapping[str, str], resampled: Resampled
) -> list[RelationResult]:
    solid = [r for r in results if r.is_solid]
    lines = []
    for relation in sorted({relation_of(r.name) for r in solid} & set(best)):
        own, fused = (
            [r for r in solid if relation_of(r.name) == relation and r.modality == modality]
            for modality in (best[relation], 'fused')
        )
        if own:
            lines.append(
                RelationResult(
                    relation=relation,
                    modality=best[relation],
                    predicates=len(own),
                    auroc=round(median(r.auroc for r in own), 3),
                    fused=round(median(r.auroc for r in fused), 3) if fused else None,
                    interval=_median_interval(own, resampled),
                    fused_interval=_median_interval(fused, resampled),
                )
            )
    return lines


def _median_interval(results: list[PredicateResult], resampled: Resampled) -> Interval | None:
    if not results:
        return None
    return resampled.median_interval([(r.name, r.modality) for r in results])


def _reversed(results: list[PredicateResult], best: Mapping[str, str]) -> list[str]:
    return [
        r.name
        for r in results
        if r.modality == best.get(relation_of(r.name)) and r.auroc < 0.5 and r.is_solid
    ]


def _fused_worse(results: list[PredicateResult], best: Mapping[str, str]) -> list[str]:
    solid = [r for r in results if r.is_solid]
    fused = {r.name: r.auroc for r in solid if r.modality == 'fused'}
    return [
        r.name
        for r in solid
        if r.modality == best.get(relation_of(r.name))
        and fused.get(r.name, 1.0) < r.auroc - FUSION_MARGIN
    ]


def _below_best(results: list[PredicateResult]) -> list[str]:
    areas: dict[str, dict[str, float]] = {}
    for result in results:
        if result.is_solid:
            areas.setdefault(result.name, {})[result.modality] = result.auroc
    return [
        name
        for name, by_modality in areas.items()
        if FUSED in by_modality and by_modality[FUSED] < max(by_modality.values()) - FUSION_MARGIN
    ]
