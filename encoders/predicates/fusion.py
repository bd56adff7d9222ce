"""Cosines to probabilities of all predicates at once: freshness, calibration, fusion.

All values stay in arrays; a `PredicateScore` is created on access.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

MAX_LOG_ODDS = 12.0
# A modality with a smaller weight is not informative; interpolation leaves such remainders.
MIN_WEIGHT = 0.05
# Up to this share of the maximum age evidence counts in full; then its weight decreases.
FRESH_SHARE = 0.5

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ages = float | Sequence[float]
NONE_INVALID: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True, slots=True)
class PredicateScore:
    """The score of one predicate at one time.

    Attributes:
        name: Name of the predicate.
        similarity: Cosine between embedding and text contrast, by modality with evidence.
        probability: By modality, from this modality alone; 0.5 if its evidence is invalid.
        fused: Probability from all informative modalities; 0.5 if there is none.
        calibrated: Whether the probabilities were fitted on labelled data; otherwise only their
            order is meaningful. False if all evidence is invalid.
        can_tell: Whether any modality with evidence is informative; otherwise `fused` is
            meaningless.
        reasons: Limits of this score, for example `infrared stale 1.8 s`, `audio cannot tell`,
            `infrared: 8-bit picture, not a temperature`, `not calibrated`.
    """

    name: str
    similarity: dict[str, float]
    probability: dict[str, float]
    fused: float
    calibrated: bool
    can_tell: bool = True
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line: `the drawer is open: 0.84 (depth 0.91, image 0.60); audio cannot tell`."""
        fused = f'{self.fused:.2f}' if self.can_tell else 'no evidence'
        parts = ', '.join(f'{name} {value:.2f}' for name, value in self.probability.items())
        line = f'{self.name}: {fused}' + (f' ({parts})' if parts else '')
        return '; '.join((line, *self.reasons))


@dataclass(frozen=True, slots=True)
class Column:
    """Parameters of one modality for all `P` predicates, float32 `[P]` or bool `[P]`."""

    asked: Bools
    fitted: Bools
    slope: Floats
    offset: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Table:
    """Parameters of `P` predicates for the fusion.

    Attributes:
        names: Names of the predicates.
        notes: A note on the calibration of each; may be empty.
        calibrated: bool `[P]`.
        limits_ms: The distinct maximum ages, float64 `[U]`.
        limit_of: Index of each predicate's maximum age in `limits_ms`, int `[P]`.
        columns: Parameters by modality.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]
    calibrated: Bools
    limits_ms: NDArray[np.float64]
    limit_of: NDArray[np.intp]
    columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Reading:
    """One modality's evidence for all `P` predicates, `[P]` each.

    `similarity` is the cosine with the text contrasts, `odds` are the log-odds from the smoothed
    contrasts. `freshness` is 1 for fresh evidence and 0 for none or for evidence that is too old.
    `invalid` gives the reasons of sensors whose evidence does not count; if that applies to all of
    them, `counts` is False and the log-odds are 0.
    """

    similarity: Floats
    odds: Floats
    freshness: Floats
    age_ms: float
    counts: bool = True
    invalid: str = ''


@dataclass(frozen=True, slots=True, repr=False)
class Scores(Sequence[PredicateScore]):
    """The scores of all predicates at one time; entries are created on access.

    Attributes:
        table: Parameters of the predicates.
        readings: Evidence by modality.
        fused: Probability from all informative modalities, float32 `[P]`.
        can_tell: Whether there is an informative modality, bool `[P]`.
    """

    table: Table
    readings: Mapping[str, Reading]
    fused: Floats
    can_tell: Bools
    _probabilities: dict[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table.names)

    def __repr__(self) -> str:
        """A line per predicate."""
        return '\n'.join(map(str, self))

    @overload
    def __getitem__(self, index: int) -> PredicateScore: ...
    @overload
    def __getitem__(self, index: slice) -> list[PredicateScore]: ...
    def __getitem__(self, index: int | slice) -> PredicateScore | list[PredicateScore]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        present = [m for m, reading in self.readings.items() if reading.freshness[index] > 0]
        return PredicateScore(
            name=self.table.names[index],
            similarity={m: float(self.readings[m].similarity[index]) for m in present},
            probability={m: float(self._probability(m)[index]) for m in present},
            fused=float(self.fused[index]),
            calibrated=self._is_calibrated(index, present),
            can_tell=bool(self.can_tell[index]),
            reasons=self.reasons(index),
        )

    def _is_calibrated(self, index: int, present: Sequence[str]) -> bool:
        has_valid = not present or any(self.readings[m].counts for m in present)
        return bool(self.table.calibrated[index]) and has_valid

    def __iter__(self) -> Iterator[PredicateScore]:
        return (self[index] for index in range(len(self)))

    def reasons(self, index: int) -> tuple[str, ...]:
        """The limits of the score of one predicate."""
        found = []
        for name, column in self.table.columns.items():
            if not column.asked[index]:
                continue
            reading = self.readings.get(name)
            if reading is None:
                found.append(f'{name} silent')
            elif not reading.freshness[index] > 0:
                found.append(f'{name} stale {reading.age_ms * 1e-3:.1f} s')
            elif reading.invalid:
                found.append(f'{name}{reading.invalid}')
            elif column.weight[index] < MIN_WEIGHT:
                found.append(f'{name} cannot tell')
            elif self.table.calibrated[index] and not column.fitted[index]:
                found.append(f'{name} not calibrated')
        if self.table.notes[index]:
            found.append(self.table.notes[index])
        return tuple(found)

    def _probability(self, modality: str) -> Floats:
        if modality not in self._probabilities:
            self._probabilities[modality] = probability(self.readings[modality].odds)
        return self._probabilities[modality]


def caveats(
    modalities: Iterable[str], *, calibrated: bool, reasons: Iterable[str]
) -> dict[str, str]:
    """Return which values of a score need a caveat, and the caveat in two words.

    Args:
        modalities: Modalities with evidence.
        calibrated: Field of the `PredicateScore` or of its message.
        reasons: Field of the `PredicateScore` or of its message.

    Returns:
        `not calibrated` for `fused`, `no vote` for a modality whose evidence does not count.
    """
    found = {} if calibrated else {'fused': 'not calibrated'}
    known = tuple(reasons)
    for name in modalities:
        if any(r == f'{name} cannot tell' or r.startswith(f'{name}:') for r in known):
            found[name] = 'no vote'
    return found


def fuse(
    table: Table,
    similarities: Mapping[str, Floats],
    *,
    ages_ms: Mapping[str, Ages] | None = None,
    invalid: Mapping[str, Sequence[str]] = NONE_INVALID,
) -> Scores:
    """Score `P` predicates from the cosines of all sensors.

    Args:
        table: Parameters of the predicates.
        similarities: By modality, the cosines of its sensors with all contrasts and with the
            smoothed contrasts, `[S, 2, P]`.
        ages_ms: By modality, the age of its evidence, or one age per sensor; None for fresh
            evidence.
        invalid: By modality, one reason per sensor why its evidence does not count, empty if it
            counts. Such a sensor is not counted for any predicate, because the encoder was trained
            on other values and no calibration applies. If it is the only sensor, no sensor is
            informative.
    """
    readings = {
        name: _read_valid(
            table,
            name,
            rows,
            None if ages_ms is None else ages_ms[name],
            invalid.get(name, ()),
        )
        for name, rows in similarities.items()
        if name in table.columns
    }
    total = np.zeros(len(table.names), np.float32)
    votes = np.zeros_like(total)
    can_tell = np.zeros(len(table.names), bool)
    for name, reading in readings.items():
        if not reading.counts:
            continue
        column, counted = table.columns[name], reading.freshness > 0
        total += column.weight * reading.freshness * reading.odds
        votes += column.weight * counted
        can_tell |= counted & (column.weight >= MIN_WEIGHT)
    # Fitted weights are for a sum; without a fit, the modalities have equal weights.
    odds = np.where(table.calibrated, total, total / np.maximum(votes, np.float32(1e-9)))
    return Scores(table, readings, probability(odds), can_tell)


def _read_valid(
    table: Table, modality: str, rows: Floats, ages_ms: Ages | None, invalid: Sequence[str]
) -> Reading:
    """Like `_read`, for sensors with valid evidence; without any, for all with log-odds of 0."""
    if not any(invalid):
        return _read(table, modality, rows, ages_ms)
    if len(invalid) != len(rows):
        raise ValueError(f'{modality}: {len(invalid)} reasons for {len(rows)} sensors')
    reasons = dict.fromkeys(reason for reason in invalid if reason)
    valid = [index for index, reason in enumerate(invalid) if not reason]
    if not valid:
        reading = _read(table, modality, rows, ages_ms)
        nothing = np.zeros_like(reading.odds)
        return replace(reading, odds=nothing, counts=False, invalid=f': {", ".join(reasons)}')
    chosen = None if ages_ms is None else np.atleast_1d(np.asarray(ages_ms))[valid].tolist()
    reading = _read(table, modality, rows[valid], chosen)
    share = f' ({len(rows) - len(valid)} of {len(rows)})'
    return replace(reading, invalid=f'{share}: {", ".join(reasons)}')


def _read(table: Table, modality: str, rows: Floats, ages_ms: Ages | None) -> Reading:
    column = table.columns[modality]
    ages = np.zeros(len(rows)) if ages_ms is None else np.atleast_1d(np.asarray(ages_ms))
    share = ages[:, None] / table.limits_ms  # [S, U]
    fresh = np.clip((1.0 - share) / (1.0 - FRESH_SHARE), 0.0, 1.0)
    # At exactly the maximum age evidence still counts, with almost no weight.
    fresh = np.where(share <= 1.0, np.maximum(fresh, 1e-6), 0.0).astype(np.float32)
    if (fresh == 1.0).all():
        fresh = np.broadcast_to(column.asked.astype(np.float32), (len(rows), len(column.asked)))
    else:
        fresh = fresh[:, table.limit_of] * column.asked
    if len(rows) == 1:
        similarity, read = rows[0]
        freshness = fresh[0]
    else:
        freshness = fresh.max(axis=0)
        total = np.maximum(fresh.sum(axis=0), np.float32(1e-9))
        similarity, read = (fresh[:, None] * rows).sum(axis=0) / total
    return Reading(
        similarity=similarity,
        odds=column.slope * read + column.offset,
        freshness=freshness,
        age_ms=float(ages.min()),
    )


def probability(log_odds: Floats) -> Floats:
    """Probabilities of log-odds `[P]`, bounded away from 0 and 1."""
    odds = np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)
