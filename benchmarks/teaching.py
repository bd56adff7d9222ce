"""What presses buy: taught predicates against their texts, within a scene, on left-out bags.

For every scene (bags whose names differ only in the number at the end) and predicate, presses are
drawn from half of the bags and tested on the others, as a robot scores them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import write_result
from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.predicates.lessons import Lesson, Press, press_of
from encoders.predicates.metrics import auroc
from train.arguments import model, there, whole
from train.bags.find import find_bags
from train.bags.load import extracted_bags, joined_parts
from train.bags.samples import Samples
from train.evaluation.calibration_error import Predictions
from train.evaluation.evaluate import group_of
from train.evaluation.metrics import expected_calibration_error
from train.evaluation.reading import observe_stored
from train.phrasings import Phrasings
from train.teaching.labels import name_of

MIN_COUNT = 5
# Test samples of each side in a draw, to bound the time.
TESTED = 20
WORSE = 0.02
ALL = 'all'
ON, OFF = (
    Predicate.__dataclass_fields__[name].default for name in ('threshold_on', 'threshold_off')
)
Observed = Mapping[str, Sequence[Evidence | None]]


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw: the text and the taught predicate on the same samples.

    Attributes:
        group: Group of the predicate.
        presses: Presses per side.
        auroc, accuracy: Of the text and of the taught predicate: AUROC, and balanced accuracy at
            0.5.
        state: Likewise, balanced accuracy of the state at the default thresholds; a moment between
            them counts half, because the state is the one from before.
        predictions: Likewise, the probabilities of all tested samples.
        estimate, low, high: Estimate after these presses; NaN if there is none.
    """

    group: str
    presses: int
    auroc: tuple[float, float]
    accuracy: tuple[float, float]
    state: tuple[float, float]
    predictions: tuple[Predictions, Predictions]
    estimate: float
    low: float
    high: float


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=there, nargs='+', required=True, help='labelled bags')
    parser.add_argument('--model', type=model, default='lb-mini')
    parser.add_argument('--wording', default='unseen', help='phrasings: trained or unseen')
    parser.add_argument('--presses', type=whole(1), nargs='+', default=[1, 2, 5, 10, 20])
    parser.add_argument('--draws', type=whole(1), default=20, help='for each predicate')
    args = parser.parse_args()
    binder, phrasings = Binder.load(args.model), Phrasings.load(args.wording)
    draws: list[Draw] = []
    for scene, bags in scenes(find_bags(args.data)).items():
        if len(bags) < 2:
            print(f'{scene}: needs two bags; skipped', file=sys.stderr)
            continue
        found = list(drawn(binder, bags, phrasings, presses=args.presses, draws=args.draws))
        print(f'{scene}: {len(found)} draws', file=sys.stderr)
        draws += found
    result = {
        'model': args.model,
        'wording': args.wording,
        'draws': args.draws,
        'table': table_of(draws),
    }
    print(json.dumps(result['table'], indent=2))
    print(write_result('teaching', result), file=sys.stderr)
    return 0


def scenes(bags: Sequence[Path]) -> dict[str, list[Path]]:
    """Bags by scene."""
    found: dict[str, list[Path]] = {}
    for bag in bags:
        found.setdefault(re.sub(r'_\d+$', '', name_of(bag)), []).append(bag)
    return found


def drawn(
    binder: Binder,
    bags: Sequence[Path],
    phrasings: Phrasings,
    *,
    presses: Sequence[int],
    draws: int,
) -> Iterator[Draw]:
    """All draws of a scene."""
    configs = binder.preprocessing
    samples, _ = joined_parts(list(extracted_bags(bags, configs)), tuple(configs))
    observed = {m: _observed(binder, m, samples.inputs[m]) for m in configs}
    rng = np.random.default_rng(0)
    for column, name in enumerate(samples.predicates):
        if not phrasings.knows(name):
            continue
        sentences = phrasings.sentences(name)
        bank = PredicateBank([Predicate(name, sentences.positive, sentences.negative)], binder)
        for _ in range(draws):
            yield from _draw(bank, samples, column, observed, presses, rng)


def _observed(binder: Binder, modality: str, stored: NDArray[Any]) -> list[Evidence | None]:
    there = (np.asarray(stored).reshape(len(stored), -1) != 0).any(axis=1)
    found = observe_stored(binder, modality, stored)
    return [each if ok else None for each, ok in zip(found, there, strict=True)]


def _draw(
    bank: PredicateBank,
    samples: Samples,
    column: int,
    observed: Observed,
    presses: Sequence[int],
    rng: np.random.Generator,
) -> Iterator[Draw]:
    """The draws of a predicate with one choice of bags."""
    truth = samples.truth[:, column]
    order = rng.permutation(len(samples.bags))
    is_taught = np.isin(samples.bag, order[: (len(order) + 1) // 2])
    sides = {
        (taught, side): np.flatnonzero((is_taught == taught) & (truth == side))
        for taught in (True, False)
        for side in (0, 1)
    }
    if min(len(rows) for rows in sides.values()) < MIN_COUNT:
        return
    tested = np.concatenate([_some(rng, sides[False, side], TESTED) for side in (0, 1)])
    labels = truth[tested] == 1
    (name,) = bank.table.names
    text = _odds(bank, observed, tested)
    for count in presses:
        if min(len(sides[True, side]) for side in (0, 1)) < count:
            continue
        made = [
            _press(bank, observed, row, truth=bool(truth[row]))
            for side in (0, 1)
            for row in _some(rng, sides[True, side], count)
        ]
        taught = bank.copy()
        taught.teach(Lesson(bank.predicates[0], tuple(made)))
        odds = _odds(taught, observed, tested)
        head = taught.taught[name].head
        found = None if head is None else head.estimate
        yield Draw(
            group=group_of(name),
            presses=count,
            auroc=(auroc(labels, text) or 0.5, auroc(labels, odds) or 0.5),
            accuracy=(_accuracy(text, labels), _accuracy(odds, labels)),
            state=(_state(text, labels), _state(odds, labels)),
            predictions=(_predictions(text, labels), _predictions(odds, labels)),
            estimate=np.nan if found is None else found.accuracy,
            low=np.nan if found is None else found.low,
            high=np.nan if found is None else found.high,
        )


def _some(rng: np.random.Generator, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rng.choice(rows, min(count, len(rows)), replace=False)


def _evidence(observed: Observed, row: int) -> dict[str, list[Evidence]]:
    found = {m: several[row] for m, several in observed.items()}
    return {m: [each] for m, each in found.items() if each is not None}


def _press(bank: PredicateBank, observed: Observed, row: int, *, truth: bool) -> Press:
    frame = bank.frame(bank.table.names[0], _evidence(observed, row))
    return press_of([frame], truth=truth, stamp_ns=row)


def _odds(bank: PredicateBank, observed: Observed, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.array([bank.score(_evidence(observed, row)).log_odds[0] for row in rows])


def _accuracy(odds: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    return float(((odds[labels] > 0).mean() + (odds[~labels] < 0).mean()) / 2)


def _state(odds: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    probability = _predictions(odds, labels).probability
    state = np.where(probability >= ON, 1.0, np.where(probability <= OFF, 0.0, 0.5))
    return float((state[labels].mean() + 1 - state[~labels].mean()) / 2)


def _predictions(odds: NDArray[np.float32], labels: NDArray[np.bool_]) -> Predictions:
    return Predictions(1 / (1 + np.exp(-np.clip(odds, -30, 30))), labels)


def _error(several: Sequence[Predictions]) -> float:
    """Calibration error over all draws: a few samples differ from their probability by chance."""
    return expected_calibration_error(
        np.concatenate([one.probability for one in several]),
        np.concatenate([one.truth for one in several]),
        weights=np.concatenate([one.weights for one in several]),
    )


def table_of(draws: Sequence[Draw]) -> dict[str, dict[str, dict[str, float]]]:
    """Means by group, and over all draws, by number of presses."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    groups = {(draw.group, draw.presses) for draw in draws}
    for group, count in sorted({*groups, *((ALL, presses) for _, presses in groups)}):
        mine = [d for d in draws if d.presses == count and group in (d.group, ALL)]
        gains = np.array([draw.auroc[1] - draw.auroc[0] for draw in mine])
        row = {'count': float(len(mine))}
        for key in ('auroc', 'accuracy', 'state'):
            both = np.array([getattr(draw, key) for draw in mine]).mean(axis=0)
            row |= {f'{key}_text': round(float(both[0]), 4), f'{key}': round(float(both[1]), 4)}
        for way, key in enumerate(('error_text', 'error')):
            row[key] = round(_error([draw.predictions[way] for draw in mine]), 4)
        row['auroc_gain'] = round(float(gains.mean()), 4)
        row['worse'] = round(float((gains < -WORSE).mean()), 4)
        known = [draw for draw in mine if np.isfinite(draw.estimate)]
        if known:
            errors = np.array([draw.estimate - draw.accuracy[1] for draw in known])
            covered = [draw.low <= draw.accuracy[1] <= draw.high for draw in known]
            row['estimate_error'] = round(float(errors.mean()), 4)
            row['covered'] = round(float(np.mean(covered)), 4)
        table.setdefault(group, {})[str(count)] = row
    return table


if __name__ == '__main__':
    raise SystemExit(main())
