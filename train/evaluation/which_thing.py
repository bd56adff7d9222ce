"""Which thing: how often the right name ranks first among the names in the scene.

An AUROC compares the samples of one predicate. A user who asks "which thing is held?" compares
predicates at one sample: given that something is held, the name of the held thing should have the
largest score of all things in the scene.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.bags.samples import Samples
from train.evaluation.metrics import Measured, bootstrap
from train.phrasings import Fact

# Question to the relation, and the position of the argument that is asked for.
QUESTIONS = {
    'held thing': ('holding', 0),
    'lifted thing': ('lifted', 0),
    'touched thing': ('contact', 1),
    'thing in a place': ('in', 0),
    'thing on a place': ('on', 0),
    'place of a thing inside': ('in', 1),
    'place under a thing': ('on', 1),
}
ANY = 'something'


@dataclass(frozen=True, slots=True)
class NamedFirst:
    """How often a right name ranks first.

    Attributes:
        samples: Number of answered questions: one per sample and place with a true name.
        names: Mean number of names to choose from.
        chance: Share of a random choice, as several names may be right.
        first: Share with a right name first, by modality and `fused`; intervals over bags.
    """

    samples: int
    names: float
    chance: float
    first: dict[str, Measured]


@dataclass(frozen=True, slots=True)
class _Cases:
    """Right choices by modality, chance, number of names and bag of each case, `[C]` each."""

    right: dict[str, NDArray[np.float64]]
    chance: NDArray[np.float64]
    names: NDArray[np.int64]
    bag: NDArray[np.int64]


def named_first(
    scores: Mapping[str, NDArray[np.float32]], samples: Samples
) -> dict[str, NamedFirst]:
    """Answer all `QUESTIONS` that the samples ask.

    A sample counts if some of at least two names are right and others are wrong. Names that share
    the largest score count with the share of right ones among them.

    Args:
        scores: Scores `[N, P]` by modality; NaN where a predicate was not read.
        samples: The samples, with truth and bags.
    """
    found = {}
    for question, (relation, position) in QUESTIONS.items():
        cases = [
            _cases(scores, samples, columns)
            for columns in _choices(samples.predicates, relation, position)
        ]
        joined = _joined(cases, tuple(scores))
        if len(joined.chance):
            found[question] = NamedFirst(
                samples=len(joined.chance),
                names=round(float(joined.names.mean()), 2),
                chance=round(float(joined.chance.mean()), 3),
                first={
                    modality: bootstrap(right, np.mean, clusters=joined.bag)
                    for modality, right in joined.right.items()
                },
            )
    return found


def _choices(predicates: Sequence[str], relation: str, position: int) -> Iterator[list[int]]:
    """Columns of the predicates that differ only in the argument that is asked for."""
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for column, name in enumerate(predicates):
        fact = Fact.parse(name)
        if fact.relation != relation or len(fact.arguments) <= position or ANY in fact.arguments:
            continue
        others = fact.arguments[:position] + fact.arguments[position + 1 :]
        alike[others].append(column)
    yield from (columns for columns in alike.values() if len(columns) > 1)


def _cases(
    scores: Mapping[str, NDArray[np.float32]], samples: Samples, columns: Sequence[int]
) -> _Cases:
    truth = samples.truth[:, columns]
    tables = {modality: table[:, columns] for modality, table in scores.items()}
    known = (truth >= 0) & np.any([~np.isnan(table) for table in tables.values()], axis=0)
    true = (truth == 1) & known
    asked = true.any(axis=1) & (known & ~true).any(axis=1)
    right = {}
    for modality, table in tables.items():
        # Without a reading, as of a silent sensor, all names share the first rank.
        chosen = np.where(known & ~np.isnan(table), table, -np.inf)[asked]
        first = known[asked] & (chosen == chosen.max(axis=1, keepdims=True))
        right[modality] = (first & true[asked]).sum(axis=1) / first.sum(axis=1)
    names = known[asked].sum(axis=1)
    chance = true[asked].sum(axis=1) / names
    return _Cases(right, chance, names, samples.bag[asked])


def _joined(cases: Sequence[_Cases], modalities: Sequence[str]) -> _Cases:
    nothing = np.zeros(0)
    return _Cases(
        right={m: np.concatenate([nothing, *(one.right[m] for one in cases)]) for m in modalities},
        chance=np.concatenate([nothing, *(one.chance for one in cases)]),
        names=np.concatenate([nothing, *(one.names for one in cases)]).astype(np.int64),
        bag=np.concatenate([nothing, *(one.bag for one in cases)]).astype(np.int64),
    )
