"""Evaluation of a model set, separately for trained and unseen wording, with all counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from encoders.model_sets.calibration import Calibration
from encoders.model_sets.encoder import EncoderSet
from train.bags.samples import Samples
from train.evaluation.calibration_error import CalibrationError, Predictions, calibration_error
from train.evaluation.evaluate import (
    MIN_COUNT,
    PredicateResult,
    Vectors,
    best_modalities,
    contrast_scores,
    fused_scores,
    group_medians,
    group_members,
    group_of,
    results_of,
)
from train.evaluation.intervals import Interval, Resampled, resample
from train.evaluation.metrics import Retrieval, retrieval
from train.fitted_table import print_table
from train.language import fact_vectors
from train.phrasings import Phrasings, relation_of

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
            5 true and 5 false samples; empty without a calibration.
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
    emergent: dict[str, Retrieval]


def evaluate_model_set(
    encoders: EncoderSet, vectors: Vectors, samples: Samples, *, anchor: bool = True
) -> Evaluation:
    """Evaluate all predicates of the samples with both wordings.

    Args:
        encoders: The model set.
        vectors: Vectors of the samples, by modality (see `embed_bags`).
        samples: The samples, with their truth.
        anchor: Smooth contrasts towards calibrated prototypes, as on the robot.

    The best modality of a relation is that with the largest fusion weight in the calibration, so
    it is not chosen on the data that it is evaluated on.
    """
    calibration = encoders.calibration
    results: dict[str, list[PredicateResult]] = {}
    resampled: dict[str, Resampled] = {}
    errors: dict[str, CalibrationError] = {}
    for wording in WORDINGS:
        asked = fact_vectors(samples.predicates, Phrasings.load(wording), encoders.text.embed)
        along = None if calibration is None or not anchor else calibration.anchored
        scores = contrast_scores(vectors, asked, read_along=along)
        if calibration is not None:
            scores = {**scores, 'fused': fused_scores(scores, asked, calibration)}
            errors[wording] = _calibration_error(scores['fused'], samples)
        resampled[wording] = resample(scores, samples)
        results[wording] = results_of(scores, samples, resampled=resampled[wording])
    best = best_modalities(results['trained']) if calibration is None else chosen(calibration)
    return Evaluation(
        model=encoders.name,
        space=encoders.text.space,
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
        calibration_error=errors,
        emergent=emergent_retrieval(vectors, samples.bag),
    )


def chosen(calibration: Calibration) -> dict[str, str]:
    """Modality with the largest total fusion weight, by relation."""
    sums: dict[str, NDArray[np.float32]] = {}
    for name, row in zip(calibration.names, calibration.weights, strict=True):
        relation = relation_of(name)
        sums[relation] = sums.get(relation, np.zeros(len(row), np.float32)) + row
    return {r: calibration.modalities[int(total.argmax())] for r, total in sums.items()}


def _calibration_error(odds: NDArray[np.float32], samples: Samples) -> CalibrationError:
    predicates = []
    for column in range(len(samples.predicates)):
        known = samples.truth[:, column] >= 0
        truth = samples.truth[known, column] == 1
        if min(truth.sum(), (~truth).sum()) >= MIN_COUNT:
            predicates.append(Predictions(expit(odds[known, column]), truth))
    return calibration_error(predicates)


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


def print_evaluation(evaluation: Evaluation) -> None:
    """Print a table of all predicates, with trained and unseen wording, and the medians."""
    console = Console()
    modalities = list(dict.fromkeys(r.modality for r in evaluation.results['trained']))
    table = Table(title=f'{evaluation.model} on {evaluation.bags} bags: AUROC, trained / unseen')
    table.add_column('predicate')
    table.add_column('group')
    table.add_column('true', justify='right')
    table.add_column('false', justify='right')
    for name in modalities:
        table.add_column(name, justify='right')
    trained, unseen = ({(r.name, r.modality): r for r in evaluation.results[w]} for w in WORDINGS)
    for name in dict.fromkeys(r.name for r in evaluation.results['trained']):
        one = trained[name, modalities[0]]
        cells = [f'{trained[name, m].auroc:.2f} / {unseen[name, m].auroc:.2f}' for m in modalities]
        table.add_row(name, group_of(name), str(one.positives), str(one.negatives), *cells)
    print_table(table, console)
    for name, found in evaluation.emergent.items():
        recalls = ', '.join(
            f'R@{k} {recall} ({found.times_chance(k):.1f} x chance)'
            for k, recall in found.recall.items()
        )
        console.print(f'emergent {name} of {found.candidates}: {recalls}')
    for wording, error in evaluation.calibration_error.items():
        console.print(
            f'{wording}: calibration error of fused probabilities {error.pooled} over all '
            f'predicates; median of each {error.per_predicate} (by luck alone {error.by_luck})'
        )
    for wording in WORDINGS:
        for line in evaluation.relations[wording]:
            console.print(
                f'{wording}: {line.relation} ({line.predicates}) {line.modality} '
                f'{line.auroc:.3f}{_shown(line.interval)}, '
                f'fused {line.fused}{_shown(line.fused_interval)}'
            )
        kinds = {
            'best modality': (evaluation.medians, evaluation.median_intervals),
            'fused': (evaluation.fused_medians, evaluation.fused_median_intervals),
        }
        for kind, (medians, intervals) in kinds.items():
            shown = [
                f'{group} {value:.3f}{_shown(intervals[wording][group])}'
                for group, value in medians[wording].items()
            ]
            console.print(f'{wording}: {kind}: {", ".join(shown)}')
        console.print(f'{wording}: fused worse {evaluation.fused_worse[wording] or "none"}')
        console.print(f'{wording}: reversed {evaluation.reversed_predicates[wording] or "none"}')


def _shown(interval: Interval | None) -> str:
    return '' if interval is None else f' [{interval[0]:.3f}, {interval[1]:.3f}]'
