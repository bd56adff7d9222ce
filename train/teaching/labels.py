"""Labelled stretches of time in bags: from a CSV file, or from the ground truth of the bags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders import Predicate
from train.bags.labels import name_of, read_label_file, without_overlaps
from train.phrasings import Phrasings
from train.score.track import read_truth, truth_for

GROUND_TRUTH = 'ground_truth'
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
        is_relative: Whether the times are since `sensor_start_ns` of the bag.
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


def read_labels(source: str) -> Labels:
    """Labels of a CSV file (`train.bags.labels`), or `ground_truth`.

    Where stretches overlap, the later one holds; stretches that are unclear are left out.

    Raises:
        ValueError: A row is invalid; the message names file and line.
        OSError: The file cannot be read.
    """
    if source == GROUND_TRUTH:
        return Labels()
    found: dict[str, list[Stretch]] = {}
    for each in without_overlaps(read_label_file(Path(source))):
        if each.truth is not None:
            stretch = Stretch(each.predicate, each.truth, each.start_ns, each.end_ns, True)
            found.setdefault(each.bag, []).append(stretch)
    if not found:
        raise ValueError(f'{source}: has no labels that are true or false')
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
