"""Measures of `benchmarks.open_questions`: one sensor by text, and one sensor by another.

Every measure is the mean over seeds, with its lowest and highest seed, and with a 95 % interval
of that mean over resampled bags. Sentences have wordings that no training contained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.metrics import average_precision
from encoders.text.minilm import text_tower
from train.bags.samples import Samples
from train.evaluation.evaluate import MIN_COUNT, contrast_scores, results_of
from train.evaluation.intervals import Interval, interval_of, resample
from train.evaluation.metrics import bootstrap, first_ranks
from train.language import fact_vectors
from train.phrasings import Phrasings, relation_of

# What each sensor can observe, as in config/recipes/lb-mini.yaml.
SIGHT = (
    'open',
    'holding something',
    'lifted something',
    'holding',
    'lifted',
    'contact',
    'in',
    'on',
)
RELATIONS: dict[str, tuple[str, ...]] = {
    'depth': SIGHT,
    'infrared': ('hot', 'turned on', 'open', 'holding something'),
    'audio': ('dropped', 'shut', 'turned on'),
}
WORDING = 'unseen'
CANDIDATES = 300
FIRST = 10  # answers of a query that are looked at
Floats = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Predicates of one sensor that are both true and false often enough, with all scores.

    Attributes:
        samples: Samples with these predicates alone.
        scores: By seed, cosines with the contrasts of the predicates, `[N, P]`.
    """

    samples: Samples
    scores: Mapping[str, NDArray[np.float32]]


def asked_of(sensor: str, vectors: Mapping[str, NDArray[np.float32]], samples: Samples) -> Asked:
    """Ask the predicates that a sensor can observe; `vectors` are by seed."""
    sensed = samples.inputs[sensor].reshape(len(samples), -1).any(axis=1)
    truth = np.where(sensed[:, None], samples.truth, -1)
    counts = np.minimum((truth == 1).sum(0), (truth == 0).sum(0))
    columns = [
        k
        for k, name in enumerate(samples.predicates)
        if relation_of(name) in RELATIONS[sensor] and counts[k] >= MIN_COUNT
    ]
    names = tuple(samples.predicates[k] for k in columns)
    asked = replace(samples, predicates=names, truth=truth[:, columns], inputs={})
    embed = text_tower('minilm-l6-v2').embed
    facts = fact_vectors(names, Phrasings.load(WORDING), embed)
    return Asked(asked, contrast_scores(vectors, facts))


def by_text(asked: Asked) -> dict[str, Any]:
    """AUROC of predicates, and retrieval of samples by the sentence of each predicate."""
    areas = _areas(asked)
    relations = [relation_of(name) for name in asked.samples.predicates]
    found = {'AUROC': _seeds(areas)}
    for relation in sorted(set(relations)):
        own = [k for k, other in enumerate(relations) if other == relation]
        found[f'AUROC of {relation}'] = _seeds(
            {s: (area[own], drawn[:, own]) for s, (area, drawn) in areas.items()}
        )
    truth = asked.samples.truth
    share = [float((column[column >= 0] == 1).mean()) for column in truth.T]
    precise: dict[str, list[float]] = {}
    first: dict[str, list[float]] = {}
    for seed, table in asked.scores.items():
        for column, scores in zip(truth.T, table.T, strict=True):
            known = column >= 0
            ranked = (column[known] == 1)[np.argsort(-scores[known], kind='stable')]
            precise.setdefault(seed, []).append(
                average_precision(column[known] == 1, scores[known]) or 0.0
            )
            first.setdefault(seed, []).append(float(ranked[:FIRST].mean()))
    return {
        'predicates': len(relations),
        **found,
        'mean average precision': _range([float(np.mean(p)) for p in precise.values()]),
        f'precision at {FIRST}': _range([float(np.mean(p)) for p in first.values()]),
        'precision of a random order': round(float(np.mean(share)), 4),
    }


def difference(one: Asked, other: Asked) -> dict[str, Any]:
    """AUROC of `one` minus that of `other`, on the same resamples of bags."""
    areas, others = _areas(one), _areas(other)
    mean = _mean(areas) - _mean(others)
    drawn = _mean_drawn(areas) - _mean_drawn(others)
    return {'AUROC': round(float(mean), 4), 'interval': interval_of(drawn)}


def across(
    queries: Sequence[NDArray[np.float32]],
    candidates: Sequence[NDArray[np.float32]],
    bags: NDArray[np.int64],
) -> dict[str, Any]:
    """Retrieval of the same sample of another sensor, by seed; vectors are `[N, D]`."""
    own = np.eye(len(bags), dtype=bool)
    ranks = np.stack(
        [
            first_ranks(query @ candidate.T, own)
            for query, candidate in zip(queries, candidates, strict=True)
        ],
        axis=1,
    )
    found: dict[str, Any] = {'candidates': len(bags)}
    for k in (1, FIRST):
        hits = (ranks <= k).astype(float)
        measured = bootstrap(hits.mean(1), np.mean, clusters=bags)
        found[f'R@{k}'] = {
            **_range(list(hits.mean(0))),
            'interval': [round(measured.low, 4), round(measured.high, 4)],
            'times_chance': round(measured.value * len(bags) / k, 2),
        }
    return found


def candidates(count: int) -> NDArray[np.int64]:
    """Rows of the samples that sensors retrieve from each other, spread over all of them."""
    return np.unique(np.linspace(0, count - 1, min(count, CANDIDATES)).astype(int))


def _areas(asked: Asked) -> dict[str, tuple[Floats, Floats]]:
    """By seed, AUROCs `[P]`, and on resamples of the bags `[R, P]`."""
    resampled = resample(asked.scores, asked.samples).areas
    plain = {
        (found.name, found.modality): found.auroc
        for found in results_of(asked.scores, asked.samples)
    }
    names = asked.samples.predicates
    return {
        seed: (
            np.array([plain[name, seed] for name in names]),
            np.stack([resampled[name, seed] for name in names], axis=1),
        )
        for seed in asked.scores
    }


def _mean(areas: Mapping[str, tuple[Floats, Floats]]) -> float:
    return float(np.mean([area.mean() for area, _ in areas.values()]))


def _mean_drawn(areas: Mapping[str, tuple[Floats, Floats]]) -> Floats:
    return np.mean([np.nanmean(drawn, axis=1) for _, drawn in areas.values()], axis=0)


def _seeds(areas: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Any]:
    found = _range([float(area.mean()) for area, _ in areas.values()])
    interval: Interval | None = interval_of(_mean_drawn(areas))
    return {**found, 'interval': interval}


def _range(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds, and the lowest and highest seed."""
    return {
        'mean': round(float(np.mean(values)), 4),
        'seeds': [round(float(min(values)), 4), round(float(max(values)), 4)],
    }
