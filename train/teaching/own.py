"""Accuracy of one's own predicates on labelled bags: by their text, and by what they were taught.

Bags in which a predicate was taught do not count for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import expit

from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.predicates.lessons import Lessons
from encoders.predicates.metrics import auroc
from train.bags.labels import name_of
from train.bags.load import extracted_bags
from train.bags.samples import UNKNOWN, Samples
from train.bags.topics import TOPICS
from train.evaluation.calibration_error import Predictions, balanced_error
from train.evaluation.reading import observe_stored
from train.fitted_table import print_table
from train.phrasings import Phrasings
from train.score.embed import UNLIMITED
from train.score.track import truth_for

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
MAX_ODDS = 30.0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well log-odds tell true from false samples.

    Attributes:
        auroc: Area under the ROC curve.
        state: Balanced accuracy of the state at the thresholds of the predicate; a sample between
            them counts half, because it leaves the state as it was.
        calibration_error: Of the probabilities, with equal weights of true and false samples.
    """

    auroc: float
    state: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class OwnResult:
    """One predicate.

    Attributes:
        name: Its name.
        truth: Name of its ground truth.
        positives, negatives: True and false samples.
        presses: True and false presses that it was taught; (0, 0) if it was not.
        left_out_bags: Bags that do not count, because it was taught in them.
        text: Accuracy of its text; None without samples of both sides.
        taught: Accuracy as taught; None if it was not, or without samples of both sides.
    """

    name: str
    truth: str
    positives: int
    negatives: int
    presses: tuple[int, int]
    left_out_bags: int
    text: Accuracy | None
    taught: Accuracy | None


@dataclass
class _Read:
    """Log-odds by text and as taught, and truth, of the samples of a predicate so far."""

    truth_name: str = ''
    text: list[float] = field(default_factory=list)
    taught: list[float] = field(default_factory=list)
    truth: list[bool] = field(default_factory=list)
    left_out: int = 0


def state_accuracy(odds: Floats, truth: Bools, *, on: float, off: float) -> float:
    """Balanced accuracy of states at thresholds of the probability, see `Accuracy.state`."""
    probability = expit(odds)
    state = np.where(probability >= on, 1.0, np.where(probability <= off, 0.0, 0.5))
    return float((state[truth].mean() + 1 - state[~truth].mean()) / 2)


def accuracy_of(odds: Floats, truth: Bools, predicate: Predicate) -> Accuracy | None:
    """The accuracy of log-odds `[N]`; None without samples of both sides."""
    area = auroc(truth, odds)
    if area is None:
        return None
    limited = np.clip(odds, -MAX_ODDS, MAX_ODDS)
    on, off = predicate.threshold_on, predicate.threshold_off
    return Accuracy(
        auroc=round(area, 4),
        state=round(state_accuracy(limited, truth, on=on, off=off), 4),
        calibration_error=round(balanced_error(Predictions(expit(limited), truth)), 4),
    )


def evaluate_own(
    binder: Binder,
    predicates: Sequence[Predicate],
    bags: Sequence[Path],
    *,
    lessons: Lessons | None = None,
    cache: Path | None = None,
    workers: int = 1,
) -> tuple[list[OwnResult], list[str]]:
    """Evaluate predicates that the ground truth of the bags knows, by name or by a sentence.

    Args:
        binder: The model set.
        predicates: The predicates.
        bags: Labelled bags.
        lessons: What some predicates were taught.
        cache: See `load_samples`.
        workers: See `load_samples`.

    Returns:
        A result for each predicate with ground truth, and one line per problem.

    Raises:
        SpaceError, ModelSetError: The lessons are of another model set.
    """
    banks = [
        PredicateBank(predicates, binder, readout_budget_ms=UNLIMITED, lessons=known)
        for known in (None, lessons)
    ]
    configs = {m: config for m, config in binder.preprocessing.items() if m in TOPICS}
    read: dict[str, _Read] = {}
    problems: list[str] = []
    found = extracted_bags(bags, configs, cache=cache, workers=workers)
    for bag, (samples, said) in zip(bags, found, strict=True):
        problems += said
        if len(samples):
            _read_bag(banks, samples, name_of(bag), read)
    known = {name: each for name, each in read.items() if each.truth_name}
    problems += [
        f'{p.name}: the bags hold no ground truth of it' for p in predicates if p.name not in known
    ]
    chosen = [p for p in predicates if p.name in known]
    return [_result(p, known[p.name], banks[1]) for p in chosen], problems


def _read_bag(
    banks: Sequence[PredicateBank], samples: Samples, bag: str, read: dict[str, _Read]
) -> None:
    text, taught = banks
    truths = truth_for(text.predicates, samples.predicates, Phrasings.load('trained'))
    used = {}
    for name, truth in truths.items():
        each = read.setdefault(name, _Read())
        each.truth_name = truth
        lesson = taught.taught.get(name)
        if lesson and any(press.source == bag for press in lesson.lesson.presses):
            each.left_out += 1
        else:
            used[name] = samples.truth[:, samples.predicates.index(truth)]
    if not used:
        return
    observed = {m: _observed(text.binder, m, stored) for m, stored in samples.inputs.items()}
    places = {name: text.table.names.index(name) for name in used}
    for index in range(len(samples)):
        labelled = [name for name, values in used.items() if values[index] != UNKNOWN]
        there = {m: several[index] for m, several in observed.items()}
        evidence = {m: one for m, one in there.items() if one is not None}
        if not labelled or not evidence:
            continue
        odds = [bank.score(evidence).log_odds for bank in _distinct(banks)]
        for name in labelled:
            read[name].text.append(float(odds[0][places[name]]))
            read[name].taught.append(float(odds[-1][places[name]]))
            read[name].truth.append(bool(used[name][index] == 1))


def _distinct(banks: Sequence[PredicateBank]) -> Iterable[PredicateBank]:
    """Both banks, or only the first if nothing was taught."""
    return banks if banks[1].taught else banks[:1]


def _observed(binder: Binder, modality: str, stored: NDArray[Any]) -> list[Evidence | None]:
    """Evidence of stored inputs; without a message near a sample, its stored input is 0."""
    evidence = observe_stored(binder, modality, stored)
    return [one if given.any() else None for one, given in zip(evidence, stored, strict=True)]


def _result(predicate: Predicate, read: _Read, bank: PredicateBank) -> OwnResult:
    truth = np.array(read.truth, bool)
    lesson = bank.taught.get(predicate.name)
    is_taught = lesson is not None and lesson.head is not None
    return OwnResult(
        name=predicate.name,
        truth=read.truth_name,
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
        presses=(0, 0) if lesson is None else lesson.lesson.counts,
        left_out_bags=read.left_out,
        text=accuracy_of(np.array(read.text), truth, predicate),
        taught=accuracy_of(np.array(read.taught), truth, predicate) if is_taught else None,
    )


def print_own(model: str, results: Sequence[OwnResult]) -> None:
    """Print a table: each quantity by the text, and as taught."""
    table = Table(title=f'{model}: by the text / as taught')
    for column in ('predicate', 'true', 'false', 'presses', 'AUROC', 'state', 'calibration error'):
        table.add_column(column)
    for each in results:
        cells = [
            ' / '.join('-' if one is None else f'{getattr(one, name):.2f}' for one in both)
            for name in ('auroc', 'state', 'calibration_error')
            for both in ((each.text, each.taught),)
        ]
        presses = f'{each.presses[0]} true, {each.presses[1]} false'
        table.add_row(
            each.name, str(each.positives), str(each.negatives),
            presses if any(each.presses) else '-', *cells,
        )  # fmt: skip
    print_table(table)
    for each in results:
        if each.left_out_bags:
            print(f'{each.name}: {each.left_out_bags} bags in which it was taught do not count')


def medians(results: Sequence[OwnResult]) -> Mapping[str, dict[str, float]]:
    """Medians of the predicates that were taught, by the text and as taught."""
    both = [(r.text, r.taught) for r in results if r.text is not None and r.taught is not None]
    if not both:
        return {}
    return {
        name: {
            way: round(float(np.median([getattr(pair[place], name) for pair in both])), 4)
            for place, way in enumerate(('text', 'taught'))
        }
        for name in ('auroc', 'state', 'calibration_error')
    }
