"""Scores of many predicates as arrays, and the reader of both forms of `PredicateScores`.

A message per predicate is easy to read and to plot, but 10,000 of them take 0.2 s to create. Above
`MESSAGES_MAX` predicates the arrays are sent instead. This module knows messages by their fields
only, so that it reads those of ROS and those of recorded bags, also of bags from before there were
arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.fusion import PredicateScore, Scores
from encoders.predicates.parameters import Bools, Floats
from encoders.predicates.reasons import Reasons
from encoders.predicates.scoring import Evaluation

MESSAGES_MAX = 300


@dataclass(frozen=True, slots=True, repr=False)
class ScoreArrays(Sequence[PredicateScore]):
    """The scores of `P` predicates from `M` modalities; entries are created on access.

    Attributes:
        names: Names of the predicates.
        modalities: Modalities with evidence.
        ages_ms: Age of the evidence of each modality, float32 `[M]`.
        similarities: Cosines between embeddings and text contrasts, float32 `[M, P]`; NaN where a
            predicate has no evidence of a modality.
        probabilities: From each modality alone, float32 `[M, P]`; NaN as above.
        fused: Probability from all informative modalities, float32 `[P]`; NaN if there is none.
        calibrated: Whether the probabilities were fitted on labelled data, bool `[P]`.
        reasons: Limits of the scores.
    """

    names: Sequence[str]
    modalities: tuple[str, ...]
    ages_ms: Floats
    similarities: Floats
    probabilities: Floats
    fused: Floats
    calibrated: Bools
    reasons: Reasons

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> PredicateScore: ...
    @overload
    def __getitem__(self, index: slice) -> list[PredicateScore]: ...
    def __getitem__(self, index: int | slice) -> PredicateScore | list[PredicateScore]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._entry(
            self.names[index],
            self.similarities[:, index].tolist(),
            self.probabilities[:, index].tolist(),
            float(self.fused[index]),
            bool(self.calibrated[index]),
            self.reasons[index],
        )

    def __iter__(self) -> Iterator[PredicateScore]:
        return map(
            self._entry,
            self.names,
            self.similarities.T.tolist(),
            self.probabilities.T.tolist(),
            self.fused.tolist(),
            self.calibrated.tolist(),
            self.reasons,
        )

    def _entry(
        self,
        name: str,
        similarities: list[float],
        probabilities: list[float],
        fused: float,
        calibrated: bool,
        reasons: tuple[str, ...],
    ) -> PredicateScore:
        can_tell = not math.isnan(fused)
        return PredicateScore(
            name=name,
            similarity=self._known(similarities),
            probability=self._known(probabilities),
            fused=fused if can_tell else 0.5,
            calibrated=calibrated,
            can_tell=can_tell,
            reasons=reasons,
        )

    def _known(self, values: list[float]) -> dict[str, float]:
        found = zip(self.modalities, values, strict=True)
        return {name: value for name, value in found if not math.isnan(value)}


def score_arrays(scores: Scores, ages_ms: Mapping[str, float]) -> ScoreArrays:
    """Return the scores of an evaluation as arrays.

    Args:
        scores: Scores of all predicates.
        ages_ms: By modality, the age of its newest evidence.
    """
    readings = scores.readings
    present = tuple(name for name, reading in readings.items() if reading.freshness.any())
    values = np.full((2, len(present), len(scores)), math.nan, np.float32)
    for row, name in enumerate(present):
        has = readings[name].freshness > 0
        values[0, row, has] = readings[name].similarity[has]
        values[1, row, has] = scores.probability(name)[has]
    return ScoreArrays(
        names=scores.table.names,
        modalities=present,
        ages_ms=np.array([ages_ms[name] for name in present], np.float32),
        similarities=values[0],
        probabilities=values[1],
        fused=np.where(scores.can_tell, scores.fused, np.float32(math.nan)),
        calibrated=scores.all_calibrated,
        reasons=scores.all_reasons,
    )


def array_fields(evaluation: Evaluation) -> dict[str, Sequence[str] | NDArray[Any]]:
    """Return the fields of a `PredicateScores` message that hold the scores as arrays.

    Returns:
        Texts, or arrays `[N]` of float32, uint32 or bool.
    """
    found = score_arrays(evaluation.scores, evaluation.ages_ms)
    return {
        'names': found.names,
        'modalities': found.modalities,
        'ages_ms': found.ages_ms,
        'similarities': found.similarities.ravel(),
        'probabilities': found.probabilities.ravel(),
        'fused': found.fused,
        'calibrated': found.calibrated,
        'reasons': found.reasons.texts,
        'reason_indices': found.reasons.indices.astype(np.uint32),
        'reason_counts': found.reasons.counts.astype(np.uint32),
    }


def scores_in(message: Any) -> ScoreArrays:
    """Return the scores of a `PredicateScores` message of either form.

    Args:
        message: A message of ROS or of a bag; it may lack the fields of the arrays, as messages
            that were recorded before there were any.

    Raises:
        ValueError: The lengths of the arrays contradict each other.
    """
    if len(message.scores) or not len(getattr(message, 'names', ())):
        return _of_entries(message.scores)
    count, modalities = len(message.names), tuple(message.modalities)
    counts = np.asarray(message.reason_counts, np.int64)
    found = ScoreArrays(
        names=list(message.names),
        modalities=modalities,
        ages_ms=np.asarray(message.ages_ms, np.float32),
        similarities=_rows(message, 'similarities', len(modalities), count),
        probabilities=_rows(message, 'probabilities', len(modalities), count),
        fused=_rows(message, 'fused', 1, count)[0],
        calibrated=np.asarray(message.calibrated, bool),
        reasons=Reasons(
            tuple(message.reasons), np.asarray(message.reason_indices, np.int64), np.cumsum(counts)
        ),
    )
    reasons = found.reasons
    if (
        not len(found.ages_ms) == len(modalities)
        or not len(found.calibrated) == len(reasons) == count
        or not len(reasons.indices) == reasons.ends[-1]
        or (reasons.indices >= len(reasons.texts)).any()
    ):
        raise ValueError(f'PredicateScores of {count} names: its arrays have other lengths')
    return found


def no_scores() -> ScoreArrays:
    """Return the scores of no predicate."""
    return _of_entries(())


def ages_in(message: Any) -> dict[str, float]:
    """Return the age of the evidence by modality, ms, of a `PredicateScores` message."""
    found = scores_in(message)
    return dict(zip(found.modalities, found.ages_ms.tolist(), strict=True))


def _rows(message: Any, name: str, rows: int, columns: int) -> Floats:
    values: NDArray[np.float32] = np.asarray(getattr(message, name), np.float32)
    if values.size != rows * columns:
        raise ValueError(
            f'PredicateScores.{name} has {values.size} values, expected {rows} x {columns}'
        )
    return values.reshape(rows, columns)


def _of_entries(entries: Sequence[Any]) -> ScoreArrays:
    """The arrays of one message per predicate."""
    ages_ms: dict[str, float] = {}
    texts: dict[str, int] = {}
    indices: list[int] = []
    for entry in entries:
        values = (entry.similarities, entry.probabilities, entry.ages_ms)
        if any(len(each) != len(entry.modalities) for each in values):
            raise ValueError(f'PredicateScore {entry.name!r}: its arrays have different lengths')
        ages_ms |= zip(entry.modalities, entry.ages_ms, strict=True)
        indices += [texts.setdefault(text, len(texts)) for text in entry.reasons]
    places = {name: place for place, name in enumerate(ages_ms)}
    table = np.full((2, len(places), len(entries)), math.nan, np.float32)
    for column, entry in enumerate(entries):
        rows = [places[name] for name in entry.modalities]
        table[0, rows, column] = entry.similarities
        table[1, rows, column] = entry.probabilities
    return ScoreArrays(
        names=[entry.name for entry in entries],
        modalities=tuple(places),
        ages_ms=np.array(list(ages_ms.values()), np.float32),
        similarities=table[0],
        probabilities=table[1],
        fused=np.array([entry.probability for entry in entries], np.float32),
        calibrated=np.array([entry.calibrated for entry in entries], bool),
        reasons=Reasons(
            tuple(texts),
            np.array(indices, np.int64),
            np.cumsum([len(entry.reasons) for entry in entries], dtype=np.int64),
        ),
    )
