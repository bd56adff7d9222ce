"""Labels of bags in the place of ground truth: facts at a time, and the sentences for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from encoders import Predicate
from train.bags.labels import (
    NONE,
    Label,
    name_of,
    read_label_file,
    sensor_start_ns,
    without_overlaps,
)
from train.phrasings import Phrasings, Sentences
from train.recordings.mapping import is_mapping

# Samples of a labelled stretch are so far apart; a shorter stretch has one, in its middle.
STEP_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels of one bag, on its clock, without overlaps.

    Attributes:
        labels: In order of their starts.
    """

    labels: tuple[Label, ...] = ()

    def facts_at(self, time_ns: int) -> dict[str, bool | None]:
        """The labelled predicates at a time; None where it is unclear whether they hold."""
        return {each.predicate: each.truth for each in self.labels if each.covers(time_ns)}

    @property
    def clear(self) -> list[Label]:
        """Labels that are true or false."""
        return [each for each in self.labels if each.truth is not None]

    @property
    def ranges(self) -> set[tuple[int, int]]:
        """(start, end) of `clear`."""
        return {(each.start_ns, each.end_ns) for each in self.clear}

    def moments(self) -> list[tuple[int, dict[str, bool]]]:
        """Times of samples in ascending order, each with the facts that are clear there."""
        times = {time_ns for each in self.clear for time_ns in _times(each)}
        facts = ((time_ns, self.facts_at(time_ns)) for time_ns in sorted(times))
        return [
            (time_ns, {name: truth for name, truth in known.items() if truth is not None})
            for time_ns, known in facts
        ]


@dataclass(frozen=True)
class LabelSet:
    """Labels of many bags.

    Attributes:
        labels: As in their files; later ones win over earlier ones.
        sentences: Sentences of the predicates that phrasings do not know, by name.
    """

    labels: tuple[Label, ...]
    sentences: Mapping[str, Sentences] = field(default_factory=dict)

    @property
    def bags(self) -> tuple[str, ...]:
        """Names of the labelled bags."""
        return tuple(dict.fromkeys(each.bag for each in self.labels))

    def only(self, bag: Path) -> LabelSet:
        """The labels of one bag."""
        name = name_of(bag)
        return replace(self, labels=tuple(each for each in self.labels if each.bag == name))

    def of(self, bag: Path, topics: Mapping[str, Sequence[str]] = NONE) -> Labelled:
        """Labels of a bag; none if it has none, or no sensors. `topics`: see `sensor_start_ns`.

        Raises:
            FileNotFoundError: There is no such bag.
            BagError: No message of it can be read.
        """
        own = without_overlaps(self.only(bag).labels)
        start_ns = sensor_start_ns(bag, topics) if own else None
        if start_ns is None:
            return Labelled()
        shifted = [
            replace(each, start_ns=each.start_ns + start_ns, end_ns=each.end_ns + start_ns)
            for each in own
        ]
        return Labelled(tuple(sorted(shifted, key=lambda each: each.start_ns)))

    def wording(self, phrasings: Phrasings) -> Phrasings:
        """Phrasings that also know the labelled predicates."""
        return replace(phrasings, own={**phrasings.own, **self.sentences})


def read_labels(
    paths: Sequence[Path], *, known: Sequence[Predicate], phrasings: Phrasings
) -> LabelSet:
    """Labels of some files.

    Args:
        paths: Files as `lb-ros label` writes them.
        known: Predicates whose names are replaced by their sentences.
        phrasings: Wordings of facts such as `open(top drawer)`.

    Raises:
        ValueError: A file is malformed or empty, or names something that is no sentence; the
            message names file and line.
        OSError: A file cannot be read.
    """
    labels, sentences = [], {}
    by_name = {predicate.name: predicate for predicate in known}
    for path in paths:
        found = read_label_file(path)
        if not found:
            raise ValueError(f'{path}: has no labels')
        for each in found:
            name = each.predicate
            if name in sentences or (name not in by_name and phrasings.knows(name)):
                continue
            try:
                predicate = by_name.get(name) or Predicate.from_sentence(name)
            except ValueError as error:
                raise ValueError(f'{path}:{each.line}: {error}') from error
            sentences[name] = Sentences(tuple(predicate.positive), tuple(predicate.negative))
        labels += found
    return LabelSet(tuple(labels), sentences)


def unused(labels: LabelSet, bags: Sequence[Path]) -> list[str]:
    """One line for every name of a bag that is not among these bags.

    Raises:
        ValueError: Among them are recordings that are no bags; a mapping names their facts.
    """
    for path in bags:
        if is_mapping(path):
            raise ValueError(f'{path}: labels are of bags; this mapping names its own facts')
    known = {name_of(bag) for bag in bags}
    return [
        f'labels: no bag is named {name!r}; its labels are left out'
        for name in labels.bags
        if name not in known
    ]


def _times(label: Label) -> list[int]:
    length_ns = label.end_ns - label.start_ns
    if length_ns < STEP_NS:
        return [label.start_ns + length_ns // 2]
    count = length_ns // STEP_NS
    first_ns = label.start_ns + (length_ns - (count - 1) * STEP_NS) // 2
    return [first_ns + number * STEP_NS for number in range(count)]
