"""What limits the scores of many predicates, in words, as arrays.

Many predicates share few texts, so that a predicate's reasons are indices of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.parameters import MIN_WEIGHT, Bools, Floats, Table

Indices = NDArray[np.int64]
NONE = -1


@dataclass(frozen=True, slots=True)
class Reading:
    """One modality's evidence for all `P` predicates, `[P]` each.

    `similarity` is the cosine with the text contrasts, `odds` are the log-odds from the smoothed
    contrasts or from tokens. `freshness` is 1 for fresh evidence and 0 for none or for evidence
    that is too old. `weight` and `fitted` are the parameters of what was read, and `from_tokens`
    is which predicates were read from tokens, None for none.
    `invalid` gives the reasons of sensors whose evidence does not count; if that applies to all of
    them, `counts` is False and the log-odds are 0.
    """

    similarity: Floats
    odds: Floats
    freshness: Floats
    age_ms: float
    weight: Floats
    fitted: Bools
    from_tokens: Bools | None = None
    counts: bool = True
    invalid: str = ''


@dataclass(frozen=True, slots=True)
class Reasons:
    """The reasons of `P` predicates.

    Attributes:
        texts: The distinct texts.
        indices: Indices into `texts`: those of the first predicate, of the second, and so on.
        ends: Where the indices of each predicate end, int `[P]`.
    """

    texts: tuple[str, ...]
    indices: Indices
    ends: Indices

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> tuple[str, ...]:
        end = int(self.ends[index])
        start = int(self.ends[index - 1]) if index % len(self.ends) else 0
        return tuple(self.texts[place] for place in self.indices[start:end])

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        start, indices = 0, self.indices.tolist()
        for end in self.ends.tolist():
            yield tuple(self.texts[place] for place in indices[start:end])
            start = end

    @property
    def counts(self) -> Indices:
        """Number of reasons of each predicate, int `[P]`."""
        return np.diff(self.ends, prepend=0)


def reasons_of(table: Table, readings: Mapping[str, Reading], calibrated: Bools) -> Reasons:
    """Return what limits the scores of all `P` predicates.

    Args:
        table: Parameters of the predicates.
        readings: Evidence by modality.
        calibrated: Whether what was read is calibrated, bool `[P]`.
    """
    texts = _Texts()
    rows = [
        _of_sensor(table, name, readings.get(name), calibrated, texts) for name in table.columns
    ]
    rows.append(_of_notes(table.notes, calibrated, texts))
    found = np.stack(rows, axis=1)  # [P, S + 1]
    told = found != NONE
    return _only_used(texts.texts, found[told], np.cumsum(told.sum(axis=1)))


class _Texts:
    """Distinct texts in the order in which they were added."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, *texts: str) -> Indices:
        """Return the index of each text, or NONE for an empty one."""
        start = len(self.texts)
        self.texts += texts
        return np.array([start + i if t else NONE for i, t in enumerate(texts)], np.int64)


def _of_sensor(
    table: Table, name: str, reading: Reading | None, calibrated: Bools, texts: _Texts
) -> Indices:
    """The index of what limits a sensor's evidence, for each predicate `[P]`."""
    column = table.columns[name]
    if reading is None:
        return np.where(column.asked & column.expected, texts.add(f'{name} silent'), NONE)
    stale, invalid, silent, unfitted, borrowed = texts.add(
        f'{name} stale {reading.age_ms * 1e-3:.1f} s',
        f'{name}{reading.invalid}',
        f'{name} cannot tell',
        f'{name} not calibrated',
        f'{name} calibrated on whole images',
    ).tolist()
    # Each replaces those above, so that the most serious one remains.
    found = np.where(column.borrowed, borrowed, NONE)
    found[calibrated & ~reading.fitted] = unfitted
    from_vector = _is_from_vector(table, name, reading)
    if from_vector.any():
        found = np.where(from_vector, _why_vector(table, name, texts), found)
    found[reading.weight < MIN_WEIGHT] = silent
    if reading.invalid:
        found[:] = invalid
    found[~(reading.freshness > 0)] = stale
    found[~column.asked] = NONE
    return found


def _is_from_vector(table: Table, name: str, reading: Reading) -> Bools:
    """Which predicates were read from a vector although the set has a readout, `[P]`."""
    if table.tokens is None or name not in table.tokens.columns:
        return np.zeros(len(table.names), bool)
    if reading.from_tokens is None:
        return np.ones(len(table.names), bool)
    return ~reading.from_tokens


def _why_vector(table: Table, name: str, texts: _Texts) -> Indices:
    """The index of why a vector was read; the text is short if only the tokens are missing."""
    assert table.tokens is not None
    distinct, places = _distinct(table.tokens.notes)
    text = f'{name} read from the vector'
    noted = texts.add(*(f'{text}{note}' for note in distinct))[places]
    return np.where(table.tokens.columns[name].asked, texts.add(text), noted)


def _of_notes(notes: tuple[str, ...], calibrated: Bools, texts: _Texts) -> Indices:
    distinct, places = _distinct(notes)
    known = texts.add(*distinct)
    unknown = texts.add(*('; '.join(filter(None, ('not calibrated', n))) for n in distinct))
    return np.where(calibrated, known[places], unknown[places])


@lru_cache(maxsize=8)
def _distinct(texts: tuple[str, ...]) -> tuple[tuple[str, ...], Indices]:
    """The distinct texts, and the index of each text among them."""
    place_of = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return tuple(place_of), np.array([place_of[text] for text in texts], np.int64)


def _only_used(texts: list[str], indices: Indices, ends: Indices) -> Reasons:
    used = np.bincount(indices, minlength=len(texts)) > 0
    place = np.cumsum(used) - 1
    kept = tuple(text for text, is_used in zip(texts, used, strict=True) if is_used)
    return Reasons(kept, place[indices], ends)
