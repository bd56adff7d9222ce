"""Thresholds from the costs of errors, per predicate, by cross-validation over bags.

The robot uses the fused probability of the model set's calibration (Platt 1999: a line from cosine
to log-odds per modality, with the fusion weights of the relation). Here all of that is refitted
without each fold of bags in turn, so that no probability is evaluated on data it was fitted to. If
isotonic regression (Zadrozny & Elkan 2002) of these held-out probabilities predicts better, the
threshold is the probability at which the isotonic curve crosses the cost ratio; otherwise it is
the cost ratio itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from encoders.atomic import write_atomically
from encoders.model_sets.calibration import Calibration
from encoders.predicates.metrics import auroc
from train.calibration.arguments import METHODS
from train.calibration.calibrate import (
    MIN_COUNT,
    Floats,
    Labelled,
    fit_predicates,
    labelled_predicates,
)
from train.evaluation.calibration_error import Predictions, balanced_error
from train.phrasings import Phrasings

MARGIN = 0.15  # between the two thresholds, so that a state is stable
LOWEST, HIGHEST = 0.02, 0.98


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a wrong TRUE and a wrong FALSE, in any common unit."""

    false_positive: float = 1.0
    false_negative: float = 1.0

    @property
    def ratio(self) -> float:
        """Probability from which TRUE has the lower expected cost (Elkan 2001, eq. 2)."""
        return self.false_positive / (self.false_positive + self.false_negative)


@dataclass(frozen=True, slots=True)
class ThresholdFit:
    """Thresholds of one predicate; all numbers are for held-out bags.

    Attributes:
        name: Name of the predicate.
        modalities: Modalities that contribute to the fused probability.
        method: `platt` or `isotonic`, whichever set the threshold.
        threshold_on, threshold_off: Thresholds of the robot's probability.
        false_positives, false_negatives: Errors at `threshold_on` among `moments` samples.
        cost: Mean cost of these errors per sample.
        ece: Method to expected calibration error, with both truths weighted equally.
        auroc: AUROC of the fused probability.
        probe_auroc: AUROC of a linear probe on the best modality's vectors; None if not requested.
    """

    name: str
    modalities: tuple[str, ...]
    method: str
    threshold_on: float
    threshold_off: float
    moments: int
    false_positives: int
    false_negatives: int
    cost: float
    ece: dict[str, float]
    auroc: float
    probe_auroc: float | None = None


def fit_thresholds(
    scores: Mapping[str, NDArray[np.float32]],
    truth: NDArray[np.int8],
    predicates: Sequence[str],
    *,
    bags: NDArray[np.int64],
    useful: Mapping[str, NDArray[np.bool_]],
    costs: Costs,
    method: str = 'auto',
    folds: int = 5,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[ThresholdFit]:
    """Fit every predicate with enough samples of both truths, also without any one fold.

    Args:
        scores: Modality to cosines with the predicates' contrasts, `[N, P]`.
        truth: int8 `[N, P]`; 1 true, 0 false, -1 unknown.
        predicates: `P` names.
        bags: `[N]`, the bag of each sample; a bag is never split.
        useful: Predicate to bool `[M]`, which modalities are informative for it.
        costs: Costs of errors.
        method: See `METHODS`; `auto` selects the one with the smaller held-out cross-entropy.
        folds: Number of folds.
        vectors: Modality to `[N, D]`, for a linear probe to compare with.

    Raises:
        ValueError: The method is unknown, or there are fewer than two folds or bags.
    """
    if method not in METHODS:
        raise ValueError(f'unknown method {method!r}, expected {", ".join(METHODS)}')
    if folds < 2 or len(np.unique(bags)) < 2:
        raise ValueError('cross-validation needs at least two folds and two bags')
    parts = split_bags(bags, folds)
    odds = held_out_odds(scores, truth, predicates, parts)
    fits = []
    for column, name in enumerate(predicates):
        known = truth[:, column] >= 0
        labels, held_out, own = truth[known, column] == 1, odds[known, column], parts[known]
        enough = min(labels.sum(), (~labels).sum()) >= MIN_COUNT
        if not enough or name not in useful or np.isnan(held_out).any():
            continue
        probe = None
        if vectors is not None:
            areas = {m: auroc(labels, table[known, column]) or 0.0 for m, table in scores.items()}
            best = max(areas, key=lambda m: areas[m])
            probe = probe_auroc(vectors[best][known], labels, own)
        telling = tuple(m for m, tells in zip(scores, useful[name], strict=True) if tells)
        fits.append(_decided(name, telling, held_out, labels, own, costs, method, probe))
    return fits


def split_bags(bags: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Fold of each sample, `[N]`; bags are not split, and folds have similar sizes."""
    names, counts = np.unique(bags, return_counts=True)
    sizes = np.zeros(min(folds, len(names)))
    part_of = {}
    for index in np.argsort(-counts, kind='stable'):
        part = int(sizes.argmin())
        part_of[names[index]] = part
        sizes[part] += counts[index]
    return np.array([part_of[bag] for bag in bags], np.int64)


def held_out_odds(
    scores: Mapping[str, NDArray[np.float32]],
    truth: NDArray[np.int8],
    predicates: Sequence[str],
    parts: NDArray[np.int64],
) -> Floats:
    """Fused log-odds `[N, P]`, each from a calibration fitted without its fold.

    NaN if the other folds do not calibrate a predicate.
    """
    odds = np.full(truth.shape, np.nan)
    for part in np.unique(parts):
        rest, inside = parts != part, parts == part
        others = {m: table[rest] for m, table in scores.items()}
        fits = fit_predicates(labelled_predicates(others, truth[rest], predicates))
        for column, name in enumerate(predicates):
            if name in fits:
                lines, weights = fits[name]
                terms = zip(scores.values(), lines.slopes, lines.offsets, weights, strict=True)
                odds[inside, column] = sum(
                    weight * (slope * table[inside, column] + offset)
                    for table, slope, offset, weight in terms
                )
    return odds


def probe_auroc(
    vectors: NDArray[np.float32], truth: NDArray[np.bool_], parts: NDArray[np.int64]
) -> float | None:
    """Held-out AUROC of logistic regression on vectors; shows what sentences leave unused."""
    probe = LogisticRegression(C=10.0, class_weight='balanced', max_iter=500)
    split = PredefinedSplit(parts)
    return auroc(
        truth, cross_val_predict(probe, vectors, truth, cv=split, method='decision_function')
    )


def _decided(
    name: str,
    telling: tuple[str, ...],
    odds: Floats,
    truth: NDArray[np.bool_],
    parts: NDArray[np.int64],
    costs: Costs,
    method: str,
    probe: float | None,
) -> ThresholdFit:
    weights = Labelled({}, truth).balance
    platt = expit(odds)
    isotonic = _held_out_isotonic(platt, truth, weights, parts)
    losses = {'platt': _cross_entropy(platt, truth, weights),
              'isotonic': _cross_entropy(isotonic, truth, weights)}  # fmt: skip
    chosen = min(losses, key=lambda m: losses[m]) if method == 'auto' else method
    on = costs.ratio
    if chosen == 'isotonic':
        on = _crossing(platt, truth, weights, costs.ratio)
    on = float(np.clip(on, LOWEST, HIGHEST))
    said = platt >= on
    wrong_true, wrong_false = int((said & ~truth).sum()), int((~said & truth).sum())
    paid = costs.false_positive * wrong_true + costs.false_negative * wrong_false
    return ThresholdFit(
        name=name,
        modalities=telling,
        method=chosen,
        threshold_on=round(on, 3),
        threshold_off=round(max(LOWEST / 2, on - MARGIN), 3),
        moments=len(truth),
        false_positives=wrong_true,
        false_negatives=wrong_false,
        cost=paid / len(truth),
        ece={
            'platt': balanced_error(Predictions(platt, truth)),
            'isotonic': balanced_error(Predictions(isotonic, truth)),
        },
        auroc=auroc(truth, odds) or 0.5,
        probe_auroc=probe,
    )


def _held_out_isotonic(
    probability: Floats, truth: NDArray[np.bool_], weights: Floats, parts: NDArray[np.int64]
) -> Floats:
    found: Floats = cross_val_predict(
        _isotonic(),
        probability,
        truth.astype(float),
        cv=PredefinedSplit(parts),
        params={'sample_weight': weights},
    )
    return found


def _isotonic() -> IsotonicRegression:
    return IsotonicRegression(y_min=LOWEST / 2, y_max=1 - LOWEST / 2, out_of_bounds='clip')


def _crossing(
    probability: Floats, truth: NDArray[np.bool_], weights: Floats, ratio: float
) -> float:
    """Smallest probability at which the isotonic curve reaches the ratio."""
    curve = _isotonic().fit(probability, truth.astype(float), sample_weight=weights)
    grid = np.linspace(0, 1, 1001)
    reached = grid[curve.predict(grid) >= ratio]
    return float(reached[0]) if len(reached) else 1.0


def _cross_entropy(probability: Floats, truth: NDArray[np.bool_], weights: Floats) -> float:
    limited = np.clip(probability, 1e-4, 1 - 1e-4)
    return float(-(weights * np.log(np.where(truth, limited, 1 - limited))).mean())


def write_predicates(
    path: Path,
    fits: Sequence[ThresholdFit],
    phrasings: Phrasings,
    *,
    model: str,
    calibration: Calibration | None = None,
    existing: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a predicates file that the robot can load.

    Args:
        path: The file.
        fits: Thresholds of the predicates.
        phrasings: Source of sentences that `existing` lacks.
        model: Name of the model set for which they were fitted.
        calibration: Stored in the file, so that it is valid with another calibration of the set.
        existing: Entries of another predicates file; those without a fit are kept.
    """
    entries: dict[str, Any] = {k: dict(v) for k, v in (existing or {}).items()}
    for fit in fits:
        sentences = phrasings.sentences(fit.name)
        entry = entries.setdefault(
            fit.name,
            {'positive': list(sentences.positive), 'negative': list(sentences.negative)},
        )
        entry |= {
            'modalities': list(fit.modalities),
            'threshold_on': fit.threshold_on,
            'threshold_off': fit.threshold_off,
        }
        if calibration is not None:
            entry |= _lines(calibration, fit)
    head = (
        f'# Written by `lb-ros calibrate` for the model set {model}: thresholds by the cost\n'
        f'# of errors on held-out bags.\n'
    )
    body = yaml.safe_dump({'predicates': entries}, sort_keys=False, allow_unicode=True, width=100)
    write_atomically(path, (head + body).encode())


def _lines(calibration: Calibration, fit: ThresholdFit) -> dict[str, Any]:
    row = calibration.names.index(fit.name)
    columns = {m: calibration.modalities.index(m) for m in fit.modalities}
    lines: dict[str, Any] = {
        m: {
            'slope': round(float(calibration.slopes[row, k]), 4),
            'offset': round(float(calibration.offsets[row, k]), 4),
        }
        for m, k in columns.items()
    }
    weights = {m: round(float(calibration.weights[row, k]), 4) for m, k in columns.items()}
    return {'weights': weights, 'calibration': {'space': calibration.space, **lines}}
