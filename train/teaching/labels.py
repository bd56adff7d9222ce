"""Labelled stretches of time in bags: from a CSV file, or from the ground truth of the bags."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders import Predicate
from train.phrasings import Phrasings
from train.score.track import read_truth, truth_for

GROUND_TRUTH = 'ground_truth'
COLUMNS = ('bag', 'predicate', 'start_s', 'end_s', 'truth')
TRUE, FALSE = ('true', '1', 'yes'), ('false', '0', 'no')
# Ground truth that is silent for longer begins a new stretch.
MAX_GAP_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a bag in which a predicate has one truth; one press.

    Attributes:
        name: Name of the predicate.
        truth: Its truth.
        start_ns: Stamp of its start.
        end_ns: Stamp of its end, at least `start_ns`.
        is_relative: Whether the times are since the first sensor data of the bag.
    """

    name: str
    truth: bool
    start_ns: int
    end_ns: int
    is_relative: bool = False


@dataclass(frozen=True)
class Labels:
    """Labels of some bags.

    Attributes:
        by_bag: Stretches by the name of the bag (its folder, or its file without ending); None to
            read the ground truth of each bag.
    """

    by_bag: Mapping[str, Sequence[Stretch]] | None = None

    def of(self, bag: Path, predicates: Sequence[Predicate]) -> list[Stretch]:
        """The stretches of a bag, of these predicates."""
        if self.by_bag is None:
            return _from_truth(bag, predicates)
        names = {p.name for p in predicates}
        found = self.by_bag.get(name_of(bag), ())
        return [stretch for stretch in found if stretch.name in names]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labelled predicates; empty for ground truth."""
        found = (self.by_bag or {}).values()
        return tuple(dict.fromkeys(s.name for stretches in found for s in stretches))


def name_of(bag: Path) -> str:
    """The name of a bag in a file of labels."""
    return bag.stem if bag.is_file() else bag.name


def read_labels(source: str) -> Labels:
    """Labels of a CSV file with the columns `COLUMNS`, or `ground_truth`.

    `start_s` and `end_s` are seconds since the first sensor data of the bag, `predicate` is a name
    or a sentence, and `truth` is `true` or `false`.

    Raises:
        ValueError: A row is invalid; the message names file and line.
        OSError: The file cannot be read.
    """
    if source == GROUND_TRUTH:
        return Labels()
    found: dict[str, list[Stretch]] = {}
    with Path(source).open(newline='', encoding='utf-8') as file:
        rows = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(
                f'{source}:1: no column {", ".join(missing)}; needs {", ".join(COLUMNS)}'
            )
        for row in rows:
            try:
                found.setdefault(_text(row, 'bag'), []).append(_stretch(row))
            except ValueError as error:
                raise ValueError(f'{source}:{rows.line_num}: {error}') from error
    if not found:
        raise ValueError(f'{source}: has no labels')
    return Labels(found)


def predicates_for(labels: Labels, known: Sequence[Predicate]) -> list[Predicate]:
    """The known predicates and those that only the labels name, made from their name.

    Raises:
        PredicateError: A name is no sentence.
    """
    names = {predicate.name for predicate in known}
    sentences = {p.positive[0]: p.name for p in known}
    new = [n for n in labels.names if n not in names and n not in sentences]
    return [*known, *(Predicate.from_sentence(name) for name in new)]


def _text(row: Mapping[str, str | None], name: str) -> str:
    text = (row[name] or '').strip()
    if not text:
        raise ValueError(f'{name} is empty')
    return text


def _stretch(row: Mapping[str, str | None]) -> Stretch:
    times_ns = []
    for name in ('start_s', 'end_s'):
        try:
            seconds = float(_text(row, name))
        except ValueError as error:
            raise ValueError(f'{name} must be a number, not {row[name]!r}') from error
        if not math.isfinite(seconds) or not 0 <= seconds <= 1e9:
            raise ValueError(f'{name} must be 0 or more seconds, not {row[name]!r}')
        times_ns.append(round(seconds * 1e9))
    if times_ns[1] < times_ns[0]:
        raise ValueError(f'end_s ({row["end_s"]}) is before start_s ({row["start_s"]})')
    truth = _text(row, 'truth').lower()
    if truth not in (*TRUE, *FALSE):
        raise ValueError(f'truth must be true or false, not {row["truth"]!r}')
    start_ns, end_ns = times_ns
    return Stretch(_text(row, 'predicate'), truth in TRUE, start_ns, end_ns, is_relative=True)


def _from_truth(bag: Path, predicates: Sequence[Predicate]) -> list[Stretch]:
    """Runs of equal ground truth."""
    truths = read_truth(bag)
    found = []
    for name, other in truth_for(predicates, list(truths), Phrasings.load('trained')).items():
        values = truths[other]
        start = 0
        for place in range(1, len(values) + 1):
            ends = place == len(values)
            if not ends:
                (before_ns, was), (now_ns, is_now) = values[place - 1], values[place]
                ends = was != is_now or not 0 <= now_ns - before_ns <= MAX_GAP_NS
            if ends:
                run = values[start:place]
                found.append(Stretch(name, run[0][1], run[0][0], run[-1][0]))
                start = place
    return found
