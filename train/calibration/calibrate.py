"""Calibration of probabilities and fusion weights from labelled bags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from encoders.model_sets.anchors import anchored
from encoders.model_sets.calibration import Calibration
from encoders.predicates.metrics import auroc
from train.bags.samples import UNKNOWN, Samples, absent_things
from train.evaluation.evaluate import Vectors, contrast_scores
from train.language import Embed, fact_vectors
from train.phrasings import Phrasings, relation_of

MIN_COUNT = 8
CHANCE_MARGIN = 0.08
RIDGE_SAMPLES = 4.0  # weight of the prior "slope 0", in samples

Floats = NDArray[np.float64]


def calibrate(
    scores: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    *,
    space: str,
    embed: Embed,
    phrasings: Phrasings,
    as_sides: bool = False,
) -> Calibration:
    """Fit every predicate for which both truths occur.

    Balanced logistic regression fits a slope and an offset per modality: for each predicate with
    at least `MIN_COUNT` samples of both truths, otherwise for all predicates of its relation
    together. Fusion weights are shared by a relation: 0 for a modality no better than chance,
    otherwise the non-negative weights whose summed log-odds predict best. They are fitted without
    the facts about absent things: a sensor that only notices that there is no screw must not vote
    on whether a screw is tight.

    Args:
        scores: Modality to cosines `[N, P]`, see `scores_to_fit`, or to log-odds of a readout.
        samples: The labelled samples that were scored.
        space: Language space of the scores.
        embed: Function from sentences to unit vectors.
        phrasings: Source of the sentences of the contrasts.
        as_sides: See `fact_vectors`; for the log-odds of readouts.

    Raises:
        ValueError: No predicate has enough samples of both truths.
    """
    fits = fit_predicates(labelled_predicates(scores, samples.truth, samples.predicates))
    if not fits:
        raise ValueError(f'no predicate has {MIN_COUNT} moments of both truths')
    there = fit_predicates(labelled_predicates(scores, _of_present(samples), samples.predicates))
    rows = [
        (lines.slopes, lines.offsets, there.get(name, (lines, weights))[1])
        for name, (lines, weights) in fits.items()
    ]
    fitted = fact_vectors(list(fits), phrasings, embed, as_sides=as_sides)
    sides = (side.numpy() for side in fitted.means())
    tables = (np.array([row[k] for row in rows], np.float32) for k in range(3))
    contrasts = fitted.contrasts().numpy()
    return Calibration(space, tuple(fits), tuple(scores), contrasts, *tables, *sides)


def _of_present(samples: Samples) -> NDArray[np.int8]:
    """The truths `[N, P]`, unknown where a thing is absent."""
    absent = absent_things(samples)[samples.bag]
    return np.where(absent, UNKNOWN, samples.truth).astype(np.int8)


def scores_to_fit(
    vectors: Vectors, samples: Samples, *, embed: Embed, phrasings: Phrasings
) -> dict[str, NDArray[np.float32]]:
    """Return the input of `calibrate`: cosines, smoothed towards the prototypes that it fits."""
    names = fitted_names(labelled_predicates({}, samples.truth, samples.predicates))
    along = None
    if names:
        along = partial(anchored, facts=fact_vectors(names, phrasings, embed).facts())
    asked = fact_vectors(samples.predicates, phrasings, embed)
    return contrast_scores(vectors, asked, read_along=along)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One predicate: cosines `[N]` by modality, and truth, bool `[N]`."""

    columns: Mapping[str, Floats]
    truth: NDArray[np.bool_]

    @property
    def rarer(self) -> int:
        """Number of samples of the rarer truth."""
        return int(min(self.truth.sum(), (~self.truth).sum()))

    @property
    def balance(self) -> Floats:
        """Weights `[N]` under which both truths have the same total weight; their mean is 1."""
        share = float(self.truth.mean())
        weights: Floats = np.where(self.truth, 0.5 / share, 0.5 / (1 - share))
        return weights


def labelled_predicates(
    scores: Mapping[str, NDArray[np.float32]],
    truth: NDArray[np.int8],
    predicates: Sequence[str],
) -> dict[str, Labelled]:
    """The predicates for which both truths occur, from scores and truth `[N, P]`."""
    found = {}
    for column, name in enumerate(predicates):
        known = truth[:, column] >= 0
        columns = {m: table[known, column].astype(np.float64) for m, table in scores.items()}
        one = Labelled(columns, truth[known, column] == 1)
        if one.rarer > 0:
            found[name] = one
    return found


def fitted_names(labelled: Mapping[str, Labelled]) -> list[str]:
    """Predicates of relations with `MIN_COUNT` samples of both truths in some predicate."""
    solid = {relation_of(name) for name, one in labelled.items() if one.rarer >= MIN_COUNT}
    return [name for name in labelled if relation_of(name) in solid]


def fit_predicates(
    labelled: Mapping[str, Labelled],
) -> dict[str, tuple[Lines, list[float]]]:
    """The lines and the fusion weights of `fitted_names`, as described in `calibrate`."""
    solid = {name: one for name, one in labelled.items() if one.rarer >= MIN_COUNT}
    relations: dict[str, list[Labelled]] = {}
    for name, one in labelled.items():
        relations.setdefault(relation_of(name), []).append(one)
    shared = {
        relation: fit_together(relations[relation], told)
        for relation, told in useful_modalities(solid).items()
    }
    fits = {}
    for name in fitted_names(labelled):
        lines, weights = shared[relation_of(name)]
        fits[name] = (fit_lines([solid[name]]) if name in solid else lines, weights)
    return fits


def useful_modalities(predicates: Mapping[str, Labelled]) -> dict[str, NDArray[np.bool_]]:
    """Which modalities are informative for each relation: bool `[M]` by relation.

    All predicates of a relation are evaluated together, because a predicate with few positives can
    make an uninformative sensor look informative by chance.
    """
    areas: dict[str, list[list[float]]] = {}
    spreads: dict[str, list[float]] = {}
    for name, one in predicates.items():
        truth = one.truth
        found = [auroc(truth, cosines) or 0.5 for cosines in one.columns.values()]
        areas.setdefault(relation_of(name), []).append(found)
        # Standard deviation of an AUROC at chance for this sample size (Hanley & McNeil 1982).
        spread = np.sqrt((len(truth) + 1) / (12 * truth.sum() * (~truth).sum()))
        spreads.setdefault(relation_of(name), []).append(float(spread))
    useful = {}
    for relation, found_areas in areas.items():
        precision = np.array(spreads[relation]) ** -2
        mean = (np.array(found_areas) * precision[:, None]).sum(0) / precision.sum()
        useful[relation] = mean - 0.5 > max(CHANCE_MARGIN, 2 * precision.sum() ** -0.5)
    return useful


@dataclass(frozen=True, slots=True)
class Lines:
    """Maps from cosine to log-odds: `slope * cosine + offset`, one per modality."""

    slopes: list[float]
    offsets: list[float]


def fit_together(
    predicates: Sequence[Labelled], useful: NDArray[np.bool_]
) -> tuple[Lines, list[float]]:
    """Fit the lines and fusion weights of predicates, with equal weight for each predicate.

    Args:
        predicates: One or more, with both truths in each.
        useful: `[M]`, which modalities are informative for them.
    """
    lines = fit_lines(predicates)
    odds = [
        slope * cosines + offset
        for slope, offset, cosines in zip(
            lines.slopes, lines.offsets, _pooled_cosines(predicates), strict=True
        )
    ]
    truth, balance = _pooled_truth(predicates)
    return lines, fit_fusion(np.stack(odds, axis=1), truth, balance, useful).tolist()


def fit_lines(predicates: Sequence[Labelled]) -> Lines:
    """Fit the lines of `fit_together` only."""
    truth, balance = _pooled_truth(predicates)
    fits = [fit_logistic(cosines, truth, balance) for cosines in _pooled_cosines(predicates)]
    return Lines([slope for slope, _ in fits], [offset for _, offset in fits])


def _pooled_truth(predicates: Sequence[Labelled]) -> tuple[NDArray[np.bool_], Floats]:
    truth = np.concatenate([one.truth for one in predicates])
    balance = np.concatenate([one.balance / len(one.truth) for one in predicates])
    return truth, balance * len(truth) / balance.sum()


def _pooled_cosines(predicates: Sequence[Labelled]) -> list[Floats]:
    modalities = predicates[0].columns
    return [np.concatenate([one.columns[name] for one in predicates]) for name in modalities]


def fit_logistic(
    cosines: Floats, truth: NDArray[np.bool_], balance: Floats
) -> tuple[float, float]:
    """Fit slope and offset of `P(true | cosine)`; the slope is never negative.

    A negative slope would correct a reversed predicate and hide the error.
    """
    spread = float(cosines.std()) + 1e-6
    scaled = (cosines - cosines.mean()) / spread
    sign = np.where(truth, 1.0, -1.0)
    ridge = RIDGE_SAMPLES / len(truth)

    def loss(values: Floats) -> float:
        odds = values[0] * scaled + values[1]
        return float((balance * np.logaddexp(0, -sign * odds)).mean() + ridge * values[0] ** 2)

    found = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.0, None), (None, None)])
    slope = float(found.x[0]) / spread
    return slope, float(found.x[1] - slope * cosines.mean())


def fit_fusion(
    odds: Floats, truth: NDArray[np.bool_], balance: Floats, useful: NDArray[np.bool_]
) -> Floats:
    """Fit non-negative weights `[M]` of log-odds `[N, M]`; 0 if a modality is not `useful`."""
    weights = np.zeros(odds.shape[1])
    if not useful.any():
        return weights
    sign = np.where(truth, 1.0, -1.0)
    ridge = RIDGE_SAMPLES / len(truth)
    chosen = odds[:, useful]

    def loss(values: Floats) -> float:
        misfit = (balance * np.logaddexp(0, -sign * (chosen @ values))).mean()
        return float(misfit + ridge * np.square(values).sum())

    start = np.full(chosen.shape[1], 1.0 / chosen.shape[1])
    found = minimize(loss, start, bounds=[(0.0, 3.0)] * chosen.shape[1])
    weights[useful] = found.x
    return weights
