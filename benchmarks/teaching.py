"""What presses buy: taught predicates against their texts, within a scene, on left-out bags.

For every scene (bags whose names differ only in the profile and the number at the end) and every
predicate, presses are drawn from half of the bags and tested on the others, as a robot scores
them.
Twenty presses of relations need several bags of each scene:

    python -m benchmarks.teaching --data bags/eval bags/eval_live bags/eval_new
"""

from __future__ import annotations

import argparse
import json
import math
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
from encoders.predicates.history import Read
from encoders.predicates.lessons import Frame, Lesson, Press, press_of
from encoders.predicates.metrics import auroc
from encoders.predicates.readout import TokenReader
from train.arguments import model, there, whole
from train.bags.find import find_bags
from train.bags.labels import name_of
from train.bags.load import extracted_bags, joined_parts
from train.bags.samples import Samples
from train.bags.topics import TOPICS
from train.evaluation.calibration_error import Predictions
from train.evaluation.evaluate import group_of
from train.evaluation.metrics import expected_calibration_error
from train.evaluation.reading import observe_stored
from train.phrasings import Phrasings
from train.teaching.own import state_accuracy

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
        found.setdefault(re.sub(r'(_train|_live)?_\d+$', '', name_of(bag)), []).append(bag)
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
    configs = {m: config for m, config in binder.preprocessing.items() if m in TOPICS}
    samples, _ = joined_parts(list(extracted_bags(bags, configs)), tuple(configs))
    scene = Scene(binder, samples, phrasings)
    rng = np.random.default_rng(0)
    for place, predicate in enumerate(scene.bank.predicates):
        asked = Asked(scene, place, PredicateBank([predicate], binder))
        for _ in range(draws):
            yield from draws_of(asked, presses, rng)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a bank reads of one sample before anything is taught, by modality.

    Attributes:
        evidence: Evidence.
        read: Results of `PredicateBank.read`.
        answers: The readout's answers to all predicates, float16 `[P, D]`.
    """

    evidence: Mapping[str, Evidence]
    read: Mapping[str, Read]
    answers: Mapping[str, NDArray[np.float16]]


class Scene:
    """Samples of the bags of a scene, and what the texts of its predicates read of them.

    What a robot computes for each evaluation is computed once here, because many draws share it.
    """

    def __init__(self, binder: Binder, samples: Samples, phrasings: Phrasings) -> None:
        self.samples = samples
        known = [(name, phrasings.sentences(name)) for name in samples.predicates
                 if phrasings.knows(name)]  # fmt: skip
        self.bank = PredicateBank([], binder, readout_budget_ms=math.inf)
        predicates = [Predicate(name, each.positive, each.negative) for name, each in known]
        refused = self.bank.try_extend(predicates)
        self.bank.extend([p for p in predicates if p.name not in refused])
        self._reader = TokenReader(binder, budget_ms=math.inf)
        observed = {m: _observed(binder, m, stored) for m, stored in samples.inputs.items()}
        self.moments = [self._moment(observed, row) for row in range(len(samples))]

    def _moment(self, observed: Observed, row: int) -> Moment:
        there = {m: several[row] for m, several in observed.items()}
        evidence = {m: each for m, each in there.items() if each is not None}
        answers = {
            m: self._reader.answers(self.bank.predicates, m, [each.tokens])[0].astype(np.float16)
            for m, each in evidence.items()
            if each.tokens is not None
        }
        return Moment(evidence, {m: self.bank.read(m, e) for m, e in evidence.items()}, answers)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One predicate of a scene.

    Attributes:
        scene: The scene.
        place: Index of the predicate in the bank of the scene.
        bank: A bank with only this predicate.
    """

    scene: Scene
    place: int
    bank: PredicateBank

    @property
    def predicate(self) -> Predicate:
        """The predicate."""
        return self.bank.predicates[0]

    def press(self, row: int, *, truth: bool) -> Press:
        """A press at one sample, as of `PredicateBank.frame`."""
        moment, place = self.scene.moments[row], self.place
        told = [m for m, (_, written) in moment.read.items() if written[place]]
        known = {m: each.statistics for m, each in moment.evidence.items()}
        frame = Frame(
            {m: each.vector for m, each in moment.evidence.items()},
            {m: moment.answers[m][place].astype(np.float32) for m in told},
            {m: float(moment.read[m][0][1, place]) for m in told},
            {m: values for m, values in known.items() if values is not None},
        )
        return press_of([frame], truth=truth, stamp_ns=row)

    def taught(self, presses: Sequence[Press]) -> PredicateBank:
        """A bank in which the predicate was taught."""
        bank = self.bank.copy()
        bank.teach(Lesson(self.predicate, tuple(presses)))
        return bank

    def log_odds(self, bank: PredicateBank, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-odds of samples, by the text or as taught."""
        return np.array([self._log_odds(bank, self.scene.moments[row]) for row in rows])

    def _log_odds(self, bank: PredicateBank, moment: Moment) -> float:
        only = [self.place]
        tables, from_tokens = {}, {}
        for modality, evidence in moment.evidence.items():
            values, written = (each[..., only] for each in moment.read[modality])
            if bank.taught:
                answers = moment.answers.get(modality)
                more = bank.taught_reader.rows(
                    modality,
                    evidence,
                    cosines=bank.similarities(evidence.vector, modality=modality)[0][1],
                    values=values[1],
                    written=written,
                    answers=None if answers is None else answers[only].astype(np.float32),
                    table=bank.table,
                )
                values = np.concatenate([values, more])
            tables[modality], from_tokens[modality] = values[None], written[None]
        return float(bank.weigh(tables, from_tokens=from_tokens).log_odds[0])


def _observed(binder: Binder, modality: str, stored: NDArray[Any]) -> list[Evidence | None]:
    there = (np.asarray(stored).reshape(len(stored), -1) != 0).any(axis=1)
    found = observe_stored(binder, modality, stored)
    return [each if ok else None for each, ok in zip(found, there, strict=True)]


def draws_of(asked: Asked, presses: Sequence[int], rng: np.random.Generator) -> Iterator[Draw]:
    """The draws of a predicate with one choice of bags."""
    samples, name = asked.scene.samples, asked.predicate.name
    truth = samples.truth[:, samples.predicates.index(name)]
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
    text = asked.log_odds(asked.bank, tested)
    for count in presses:
        if min(len(sides[True, side]) for side in (0, 1)) < count:
            continue
        bank = asked.taught(
            [
                asked.press(row, truth=bool(truth[row]))
                for side in (0, 1)
                for row in _some(rng, sides[True, side], count)
            ]
        )
        odds = asked.log_odds(bank, tested)
        head = bank.taught[name].head
        found = None if head is None else head.estimate
        yield Draw(
            group=group_of(name),
            presses=count,
            auroc=(area(labels, text), area(labels, odds)),
            accuracy=(_accuracy(text, labels), _accuracy(odds, labels)),
            state=(_state(text, labels), _state(odds, labels)),
            predictions=(_predictions(text, labels), _predictions(odds, labels)),
            estimate=np.nan if found is None else found.accuracy,
            low=np.nan if found is None else found.low,
            high=np.nan if found is None else found.high,
        )


def _some(rng: np.random.Generator, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rng.choice(rows, min(count, len(rows)), replace=False)


def area(labels: NDArray[np.bool_], odds: NDArray[np.float32]) -> float:
    """AUROC of samples of both sides."""
    found = auroc(labels, odds)
    assert found is not None, 'samples of both sides are tested'
    return found


def _accuracy(odds: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    return float(((odds[labels] > 0).mean() + (odds[~labels] < 0).mean()) / 2)


def _state(odds: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    return state_accuracy(odds, labels, on=ON, off=OFF)


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
