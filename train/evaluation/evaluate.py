"""Accuracy of a model set's predicates on bags: per predicate, modality and wording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder
from encoders.model_sets.calibration import Floats
from encoders.model_sets.encoder import Encoder
from encoders.predicates.metrics import auroc, average_precision
from encoders.preprocess import Config, from_stored
from train.bags.labelled import LabelSet
from train.bags.load import LoadReport, load_samples
from train.bags.samples import Samples, stored_tensor
from train.bags.topics import TOPICS
from train.evaluation.intervals import Interval, Resampled
from train.language import Embed, FactVectors, fact_vectors
from train.phrasings import Phrasings, relation_of

Vectors = Mapping[str, NDArray[np.float32]]
# Relations visible at the resolution of the sensors, and those about small objects.
GROUPS = {
    'sensor scale': (
        'open',
        'turned on',
        'hot',
        'holding something',
        'lifted something',
        'dropped',
        'shut',
    ),
    'one object': ('holding', 'lifted', 'contact'),
    'relations': ('in', 'on'),
}
BATCH = 64
MIN_COUNT = 5


@dataclass(frozen=True, slots=True)
class PredicateResult:
    """Accuracy of one predicate in one modality (or `fused`).

    `interval` is the 95 % interval of the AUROC over bags; None if it was not requested.
    """

    name: str
    modality: str
    auroc: float
    average_precision: float
    positives: int
    negatives: int
    interval: Interval | None = None

    @property
    def is_solid(self) -> bool:
        """Whether there are `MIN_COUNT` true and false samples each, as medians require."""
        return min(self.positives, self.negatives) >= MIN_COUNT


def embed_samples(
    encoders: Mapping[str, Encoder], samples: Samples
) -> dict[str, NDArray[np.float32]]:
    """Unit vectors float32 `[N, D]` of every modality."""
    return {name: embed_stored(e, samples.inputs[name]) for name, e in encoders.items()}


@torch.inference_mode()
def embed_stored(encoder: Encoder, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Unit vectors float32 `[N, D]` of stored inputs `[N, ...]`."""
    parts = []
    for start in range(0, len(stored), BATCH):
        inputs = from_stored(stored_tensor(stored[start : start + BATCH]), encoder.config)
        parts.append(encoder.encode(inputs).float().cpu().numpy())
    return np.concatenate(parts)


def embed_raw(
    binder: Binder, samples: Iterable[Mapping[str, Any]], *, batch: int
) -> dict[str, NDArray[np.float32]]:
    """Unit vectors float32 `[N, D]` by modality of raw samples, read and embedded in batches.

    Args:
        binder: The model set.
        samples: Raw data by modality, as for `Binder.embed`; all have the same modalities.
        batch: Number of samples held in memory at once.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {}
    unread = iter(samples)
    while several := list(islice(unread, batch)):
        for name in several[0]:
            found = binder.embed(**{name: [sample[name] for sample in several]})[name]
            parts.setdefault(name, []).append(found)
    return {name: np.concatenate(found) for name, found in parts.items()}


def embed_bags(
    encoders: Mapping[str, Encoder],
    bags: Sequence[Path],
    *,
    cache: Path | None = None,
    workers: int = 1,
    labels: LabelSet | None = None,
) -> tuple[Vectors, Samples, LoadReport]:
    """Vectors and truth of all labelled samples of some bags.

    Args:
        encoders: Encoders by modality; those of sensors that no bag has are left out.
        bags: Bag folders or files.
        cache: See `load_samples`.
        workers: See `load_samples`.
        labels: See `load_samples`.
    """
    used = {name: encoder for name, encoder in encoders.items() if name in TOPICS}
    configs: dict[str, Config] = {name: encoder.config for name, encoder in used.items()}
    samples, report = load_samples(
        bags,
        configs,
        cache=cache,
        workers=workers,
        convert=lambda name, stored: _embed_recorded(used[name], stored),
        labels=labels,
    )
    samples = replace(samples, inputs=heard(samples.inputs))
    return samples.inputs, samples, report


def _embed_recorded(encoder: Encoder, stored: NDArray[Any]) -> NDArray[np.float32]:
    """As `embed_stored`; zeros where a bag lacks the sensor."""
    if stored.any() or not len(stored):
        return embed_stored(encoder, stored)
    width = embed_stored(encoder, stored[:1]).shape[1]
    return np.zeros((len(stored), width), np.float32)


def heard(vectors: Vectors) -> dict[str, NDArray[np.float32]]:
    """The vectors of sensors that some bag has; those of the others are zeros."""
    return {name: rows for name, rows in vectors.items() if rows.any()}


def contrast_scores(
    vectors: Vectors,
    asked: FactVectors,
    *,
    read_along: Callable[[Floats, Floats], Floats] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Cosines of all samples with the contrasts of all predicates, `[N, P]` by modality.

    Args:
        vectors: Vectors of the samples, by modality.
        asked: Embedded wordings of the predicates.
        read_along: Smooths contrasts towards calibrated prototypes, as on the robot, given mean
            prompt embeddings and contrasts `[P, D]` (`Calibration.anchored`); None for none.
    """
    contrasts = asked.contrasts().numpy()
    if read_along is not None:
        contrasts = read_along(asked.means()[0].numpy(), contrasts)
    return {name: z @ contrasts.T for name, z in vectors.items()}


def score_predicates(
    vectors: Vectors, samples: Samples, embed: Embed, phrasings: Phrasings
) -> list[PredicateResult]:
    """Zero-shot AUROC and average precision of every predicate that is both true and false."""
    asked = fact_vectors(samples.predicates, phrasings, embed)
    return results_of(contrast_scores(vectors, asked), samples)


def results_of(
    scores: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    *,
    resampled: Resampled | None = None,
) -> list[PredicateResult]:
    """Results from scores `[N, P]` by modality; predicates that never change are left out.

    Scores are NaN where a predicate was not read; those samples do not count.
    """
    results = []
    for column, name in enumerate(samples.predicates):
        for modality, table in scores.items():
            known = (samples.truth[:, column] >= 0) & ~np.isnan(table[:, column])
            truth = samples.truth[known, column] == 1
            area = auroc(truth, table[known, column])
            precision = average_precision(truth, table[known, column])
            if area is not None and precision is not None:
                positives = int(truth.sum())
                results.append(
                    PredicateResult(
                        name=name,
                        modality=modality,
                        auroc=area,
                        average_precision=precision,
                        positives=positives,
                        negatives=len(truth) - positives,
                        interval=resampled.interval(name, modality) if resampled else None,
                    )
                )
    return results


def group_of(predicate: str) -> str:
    """The group of predicates to which a predicate belongs, for reports."""
    relation = relation_of(predicate)
    return next((group for group, members in GROUPS.items() if relation in members), 'other')


def group_members(
    results: Sequence[PredicateResult],
    *,
    best: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> dict[str, list[PredicateResult]]:
    """Results by group, each predicate in its best modality; empty groups are left out.

    Args:
        results: Results on one data set.
        best: Best modality by relation, chosen on other data; None chooses the modality with the
            highest AUROC of each relation on the same data (only for monitoring a training).
        groups: Relations by group; groups may overlap.
    """
    solid = [r for r in results if r.is_solid]
    chosen = best or best_modalities(solid)
    members = {
        group: [
            r
            for r in solid
            if relation_of(r.name) in relations and chosen.get(relation_of(r.name)) == r.modality
        ]
        for group, relations in groups.items()
    }
    return {group: found for group, found in members.items() if found}


def group_medians(
    results: Sequence[PredicateResult], *, best: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Median AUROC of the members of each group, see `group_members`."""
    members = group_members(results, best=best)
    return {group: round(median(r.auroc for r in found), 3) for group, found in members.items()}


def best_modalities(results: Sequence[PredicateResult]) -> dict[str, str]:
    """Modality with the highest median AUROC, by relation."""
    best = {}
    for relation in {relation_of(r.name) for r in results}:
        mine = [r for r in results if relation_of(r.name) == relation and r.modality != 'fused']
        medians = {
            m: median(r.auroc for r in mine if r.modality == m) for m in {r.modality for r in mine}
        }
        if medians:
            best[relation] = max(sorted(medians), key=lambda m: medians[m])
    return best
