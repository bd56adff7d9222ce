"""The evaluation of a model set: trained and unseen wording apart, with all counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from encoders.calibration import Calibration
from encoders.encoder import EncoderSet
from train.calibrate import fused_scores
from train.evaluate import (
    PredicateResult,
    Vectors,
    best_modalities,
    contrast_scores,
    group_medians,
    group_of,
    results_of,
)
from train.language import fact_vectors
from train.phrasings import Phrasings, relation_of
from train.samples import Samples

WORDINGS = ('trained', 'unseen')
MIN_COUNT = 5


@dataclass(frozen=True, slots=True)
class RelationResult:
    """Median AUROC of a relation's predicates in the modality that can tell, and fused.

    Only predicates with at least 5 of both truths count.
    """

    relation: str
    modality: str
    predicates: int
    auroc: float
    fused: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of one model set on one set of bags.

    Attributes:
        model, space: Of the model set.
        bags, moments: Size of the data.
        results: By wording, one per predicate and modality, `fused` included.
        best: Relation to the modality that can tell, chosen on the calibration data.
        medians: By wording and group, over predicates with at least 5 of both truths.
        relations: By wording, one line per relation.
        reversed_predicates: By wording, those whose best modality is below 0.5.
    """

    model: str
    space: str
    bags: int
    moments: int
    results: dict[str, list[PredicateResult]]
    best: dict[str, str]
    medians: dict[str, dict[str, float]]
    fused_medians: dict[str, dict[str, float]]
    relations: dict[str, list[RelationResult]]
    reversed_predicates: dict[str, list[str]]


def evaluate_model_set(encoders: EncoderSet, vectors: Vectors, samples: Samples) -> Evaluation:
    """Score all predicates of the samples with both wordings.

    Args:
        encoders: The set.
        vectors: Of the samples, by modality (see `embed_bags`).
        samples: Their truth.

    The modality that can tell is the one with the largest fusion weight in the calibration, so
    that it is never chosen on the data it is judged on.
    """
    embed, calibration = encoders.text.embed, encoders.calibration
    results: dict[str, list[PredicateResult]] = {}
    for wording in WORDINGS:
        phrasings = Phrasings.load(wording)
        scores = contrast_scores(vectors, samples.predicates, embed, phrasings)
        if calibration is not None:
            contrasts = fact_vectors(samples.predicates, phrasings, embed).contrasts().numpy()
            scores = {**scores, 'fused': fused_scores(scores, contrasts, calibration)}
        results[wording] = results_of(scores, samples)
    best = best_modalities(results['trained']) if calibration is None else chosen(calibration)
    return Evaluation(
        model=encoders.name,
        space=encoders.text.space,
        bags=len(samples.bags),
        moments=len(samples),
        results=results,
        best=best,
        medians={w: group_medians(r, best=best) for w, r in results.items()},
        fused_medians={w: _fused_medians(r) for w, r in results.items()},
        relations={w: _relations(r, best) for w, r in results.items()},
        reversed_predicates={w: _reversed(r, best) for w, r in results.items()},
    )


def chosen(calibration: Calibration) -> dict[str, str]:
    """Relation to the modality with the largest mean fusion weight."""
    sums: dict[str, NDArray[np.float32]] = {}
    for name, row in zip(calibration.names, calibration.weights, strict=True):
        relation = relation_of(name)
        sums[relation] = sums.get(relation, np.zeros(len(row), np.float32)) + row
    return {r: calibration.modalities[int(total.argmax())] for r, total in sums.items()}


def _fused_medians(results: list[PredicateResult]) -> dict[str, float]:
    relations = {relation_of(r.name) for r in results}
    return group_medians(results, best=dict.fromkeys(relations, 'fused'))


def _relations(results: list[PredicateResult], best: Mapping[str, str]) -> list[RelationResult]:
    solid = [r for r in results if min(r.positives, r.negatives) >= MIN_COUNT]
    lines = []
    for relation in sorted({relation_of(r.name) for r in solid} & set(best)):
        mine = [r for r in solid if relation_of(r.name) == relation]
        areas = [r.auroc for r in mine if r.modality == best[relation]]
        fused = [r.auroc for r in mine if r.modality == 'fused']
        if areas:
            lines.append(
                RelationResult(
                    relation,
                    best[relation],
                    len(areas),
                    round(median(areas), 3),
                    round(median(fused), 3) if fused else None,
                )
            )
    return lines


def _reversed(results: list[PredicateResult], best: Mapping[str, str]) -> list[str]:
    return [
        r.name
        for r in results
        if r.modality == best.get(relation_of(r.name))
        and r.auroc < 0.5
        and min(r.positives, r.negatives) >= MIN_COUNT
    ]


def print_evaluation(evaluation: Evaluation) -> None:
    """A table of every predicate, trained and unseen wording side by side, and the medians."""
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
    console.print(table)
    for wording in WORDINGS:
        for line in evaluation.relations[wording]:
            console.print(
                f'{wording}: {line.relation} ({line.predicates}) {line.modality} '
                f'{line.auroc:.3f}, fused {line.fused}'
            )
        console.print(f'{wording}: best modality {evaluation.medians[wording]}')
        console.print(f'{wording}: fused {evaluation.fused_medians[wording]}')
        console.print(f'{wording}: reversed {evaluation.reversed_predicates[wording] or "none"}')
