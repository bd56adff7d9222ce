"""Answers of a search, and the choice of the best ones that are apart in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.search.store import Entry, MomentStore

CANDIDATES = 10  # initial number per requested answer
MAX_CANDIDATES = 20_000  # per sensor

Placed = TypeVar('Placed', Entry, 'Moment')
Source = Literal['tokens', 'facts', 'vector']


@dataclass(frozen=True, slots=True)
class Moment:
    """One answer.

    Attributes:
        bag: Path of the bag.
        time_s: Seconds since the start of the recording.
        stamp_ns: Stamp of the sensor message that matches best.
        modality: Modality of that sensor.
        topic: Topic of that sensor.
        score: Standard deviations above the mean of the index; where tokens were read, also of
            their log-odds. Only the order is meaningful.
        probability: Probability of the sentence; None for an example.
        cosines: Cosine of every sensor that was evaluated.
        calibrated: Whether the probability was fitted to labelled data; None for an example.
        read_from: Whether its order comes from the tokens, encoded again from the bag, from the
            stored facts, or from the stored vectors.
    """

    bag: str
    time_s: float
    stamp_ns: int
    modality: str
    topic: str
    score: float
    probability: float | None = None
    cosines: dict[str, float] = field(default_factory=dict)
    calibrated: bool | None = None
    read_from: Source = 'vector'

    @property
    def supported(self) -> bool:
        """Whether the score is above that of an average moment, and the answer not improbable."""
        improbable = bool(self.calibrated) and (self.probability or 0.0) < 0.5
        return self.score > 0 and not improbable

    @classmethod
    def of(
        cls,
        entry: Entry,
        *,
        score: float,
        cosines: Mapping[str, float],
        probability: float | None = None,
        calibrated: bool | None = None,
        read_from: Source = 'vector',
    ) -> Moment:
        """Create a moment from the entry that matches best, with rounded numbers."""
        return cls(
            bag=entry.bag,
            time_s=round(entry.time_s, 3),
            stamp_ns=entry.stamp_ns,
            modality=entry.modality,
            topic=entry.topic,
            score=round(score, 4),
            probability=None if probability is None else round(probability, 4),
            cosines={modality: round(value, 4) for modality, value in cosines.items()},
            calibrated=calibrated,
            read_from=read_from,
        )


def best_apart(
    found: Callable[[int], list[Moment]], store: MomentStore, *, apart_s: float, top: int
) -> list[Moment]:
    """The best `top` moments with a minimum distance in time, or fewer if the index has fewer.

    Args:
        found: Returns moments from a number of candidates per sensor. The best ones are often
            neighbours, of which only one is kept; then more candidates are requested.
        store: The index.
        apart_s: Minimum seconds between answers of one bag.
        top: Number of answers.
    """
    count = max(top * CANDIDATES, 100)
    while True:
        best_first = sorted(found(count), key=lambda moment: -moment.score)
        answers = apart(best_first, apart_s=apart_s, top=top)
        if len(answers) == top or count >= min(len(store), MAX_CANDIDATES):
            return answers
        count *= 4


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of a quantity over the index."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> Scale:
        """The distribution of some values."""
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def __call__(self, value: float) -> float:
        """A value in standard deviations above the mean."""
        return (value - self.mean) / self.deviation


def apart(best_first: Iterable[Placed], *, apart_s: float, top: int) -> list[Placed]:
    """Drop entries that are near a better one of the same bag."""
    kept: list[Placed] = []
    for one in best_first:
        if all(one.bag != k.bag or abs(one.time_s - k.time_s) >= apart_s for k in kept):
            kept.append(one)
            if len(kept) == top:
                break
    return kept
