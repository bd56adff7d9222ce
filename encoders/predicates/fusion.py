"""Cosines to probabilities of all predicates at once: freshness, calibration, fusion.

All values stay in arrays; a `PredicateScore` is created on access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.parameters import MIN_WEIGHT, Bools, Floats, Table
from encoders.predicates.reasons import Reading, Reasons, reasons_of

MAX_LOG_ODDS = 12.0
# Up to this share of the maximum age evidence counts in full; then its weight decreases.
FRESH_SHARE = 0.5

Ages = float | Sequence[float]
NONE_INVALID: Mapping[str, Sequence[str]] = {}
NO_TOKENS: Mapping[str, NDArray[np.bool_]] = {}


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
            `infrared: 8-bit picture, not a temperature`, `depth read from the vector`,
            `depth@gripper calibrated on whole images`, `not calibrated`.
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


@dataclass(frozen=True, repr=False)  # no slots, for cached properties
class Scores(Sequence[PredicateScore]):
    """The scores of all predicates at one time; entries are created on access.

    Attributes:
        table: Parameters of the predicates.
        readings: Evidence by modality.
        fused: Probability from all informative modalities, float32 `[P]`.
        can_tell: Whether there is an informative modality, bool `[P]`.
        calibrated: Whether what was read is calibrated, bool `[P]`.
        log_odds: The log-odds of `fused`, without a bound, float32 `[P]`.
    """

    table: Table
    readings: Mapping[str, Reading]
    fused: Floats
    can_tell: Bools
    calibrated: Bools
    log_odds: Floats
    _probabilities: dict[str, Floats] = field(default_factory=dict)

    def decides(self, where: int | slice = slice(None)) -> Bools:
        """Which scores give a state, bool `[P]`, or whether the one at an index does.

        A readout reads any text, also one about nothing that it knows, so that scores of a set
        with calibrated readouts must be calibrated.
        """
        if self.table.tokens is None or not self.table.tokens.has_calibration:
            return np.asarray(self.can_tell[where])
        return np.asarray(self.can_tell[where] & self.calibrated[where])

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
            probability={m: float(self.probability(m)[index]) for m in present},
            fused=float(self.fused[index]),
            calibrated=bool(self.all_calibrated[index]),
            can_tell=bool(self.can_tell[index]),
            reasons=self.reasons(index),
        )

    def __iter__(self) -> Iterator[PredicateScore]:
        return (self[index] for index in range(len(self)))

    def reasons(self, index: int) -> tuple[str, ...]:
        """The limits of the score of one predicate."""
        return self.all_reasons[index]

    @cached_property
    def all_reasons(self) -> Reasons:
        """The limits of all scores."""
        return reasons_of(self.table, self.readings, self.calibrated)

    @cached_property
    def all_calibrated(self) -> Bools:
        """As `PredicateScore.calibrated` of all scores, bool `[P]`."""
        has = np.zeros(len(self), bool)
        has_valid = np.zeros(len(self), bool)
        for reading in self.readings.values():
            has |= reading.freshness > 0
            has_valid |= (reading.freshness > 0) & reading.counts
        return self.calibrated & (has_valid | ~has)

    def probability(self, modality: str) -> Floats:
        """Probabilities from one modality with evidence alone, float32 `[P]`."""
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


def taught_reason(reasons: Iterable[str]) -> str:
    """What the reasons of a score say about teaching; empty if they say nothing.

    For example `taught (7 true, 6 false, 0.93 left out)`.
    """
    parts = [part for reason in reasons for part in reason.split('; ')]
    return '; '.join(p for p in parts if p.startswith('taught (') or p == 'unlike its presses')


def fuse(
    table: Table,
    similarities: Mapping[str, Floats],
    *,
    ages_ms: Mapping[str, Ages] | None = None,
    invalid: Mapping[str, Sequence[str]] = NONE_INVALID,
    from_tokens: Mapping[str, Bools] = NO_TOKENS,
) -> Scores:
    """Score `P` predicates from the cosines and the tokens of all sensors.

    Args:
        table: Parameters of the predicates.
        similarities: By modality, the cosines of its sensors with all contrasts and with the
            smoothed contrasts, `[S, 2, P]`; of predicates that were read from tokens, the log-odds
            of the readout instead of the latter.
        ages_ms: By modality, the age of its evidence, or one age per sensor; None for fresh
            evidence.
        invalid: By modality, one reason per sensor why its evidence does not count, empty if it
            counts. Such a sensor is not counted for any predicate, because the encoder was trained
            on other values and no calibration applies. If it is the only sensor, no sensor is
            informative.
        from_tokens: By modality, which predicates were read from the tokens of each sensor, bool
            `[S, P]`.
    """
    readings = {
        name: _read_valid(
            table,
            name,
            _Rows(rows, from_tokens.get(name)),
            None if ages_ms is None else ages_ms[name],
            invalid.get(name, ()),
        )
        for name, rows in similarities.items()
        if name in table.columns
    }
    readings, calibrated = _judge(table, readings)
    total = np.zeros(len(table.names), np.float32)
    votes = np.zeros_like(total)
    can_tell = np.zeros(len(table.names), bool)
    for reading in readings.values():
        if not reading.counts:
            continue
        counted = reading.freshness > 0
        total += reading.weight * reading.freshness * reading.odds
        votes += reading.weight * counted
        can_tell |= counted & (reading.weight >= MIN_WEIGHT)
    # Fitted weights are for a sum; without a fit, the modalities have equal weights.
    odds = np.where(calibrated, total, total / np.maximum(votes, np.float32(1e-9)))
    return Scores(table, readings, probability(odds), can_tell, calibrated, odds)


def _judge(table: Table, readings: dict[str, Reading]) -> tuple[dict[str, Reading], Bools]:
    """The readings, and which predicates are calibrated by what was read, bool `[P]`.

    Where tokens were read, their calibration decides. A vector without calibration does not count
    next to calibrated tokens, and neither do tokens without calibration next to the calibrated
    vector of a sensor that has no readout.
    """
    by_tokens = np.zeros(len(table.names), bool)
    for reading in readings.values():
        if reading.counts and reading.from_tokens is not None:
            by_tokens |= reading.from_tokens & (reading.freshness > 0)
    if table.tokens is None or not by_tokens.any():
        return readings, table.calibrated
    calibrated = np.where(by_tokens, table.tokens.calibrated, table.calibrated)
    unknown = by_tokens & calibrated & ~table.calibrated
    felt = by_tokens & ~calibrated & _told_by_vectors(table, readings)
    if not (unknown | felt).any():
        return readings, calibrated
    judged = {}
    for name, reading in readings.items():
        is_vector = unknown if reading.from_tokens is None else unknown & ~reading.from_tokens
        silent = is_vector | (felt & (name in table.tokens.columns))
        judged[name] = replace(reading, weight=np.where(silent, np.float32(0), reading.weight))
    return judged, calibrated | felt


def _told_by_vectors(table: Table, readings: Mapping[str, Reading]) -> Bools:
    """What sensors without a readout can tell by their calibration, bool `[P]`."""
    assert table.tokens is not None
    told = np.zeros(len(table.names), bool)
    for name, reading in readings.items():
        if reading.counts and name not in table.tokens.columns:
            told |= reading.fitted & (reading.weight >= MIN_WEIGHT) & (reading.freshness > 0)
    return told


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a modality's sensors; see `fuse`."""

    values: Floats
    from_tokens: Bools | None

    def __len__(self) -> int:
        return len(self.values)

    def only(self, places: Sequence[int]) -> _Rows:
        """The rows of some sensors."""
        tokens = None if self.from_tokens is None else self.from_tokens[places]
        return _Rows(self.values[places], tokens)


def _read_valid(
    table: Table, modality: str, rows: _Rows, ages_ms: Ages | None, invalid: Sequence[str]
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
    reading = _read(table, modality, rows.only(valid), chosen)
    share = f' ({len(rows) - len(valid)} of {len(rows)})'
    return replace(reading, invalid=f'{share}: {", ".join(reasons)}')


def _read(table: Table, modality: str, rows: _Rows, ages_ms: Ages | None) -> Reading:
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
    single = len(rows) == 1
    freshness = fresh[0] if single else fresh.max(axis=0)

    def mean(values: Floats) -> Floats:
        """Over sensors, weighted by freshness, `[S, ..., P]` to `[..., P]`."""
        if single:
            return np.asarray(values[0])
        weights = fresh.reshape(len(rows), *[1] * (values.ndim - 2), -1)
        total = np.maximum(fresh.sum(axis=0), np.float32(1e-9))
        return np.asarray((weights * values).sum(axis=0) / total)

    parameters = _parameters(table, modality, rows, mean)
    return Reading(freshness=freshness, age_ms=float(ages.min()), **parameters)


def _parameters(
    table: Table, modality: str, rows: _Rows, mean: Callable[[Floats], Floats]
) -> dict[str, Any]:
    """What a modality's sensors read, and the parameters that apply to it."""
    column, asked = table.columns[modality], rows.from_tokens
    if table.tokens is None or asked is None or not asked.any():
        similarity, read = mean(rows.values)
        odds = column.slope * read + column.offset
        return {
            'similarity': similarity,
            'odds': odds,
            'weight': column.weight,
            'fitted': column.fitted,
        }
    tokens = table.tokens.columns[modality]
    odds = np.where(asked, tokens.slope, column.slope) * rows.values[:, 1]
    odds += np.where(asked, tokens.offset, column.offset)
    fitted = np.where(asked, tokens.fitted, column.fitted)
    return {
        'similarity': mean(rows.values[:, 0]),
        'odds': mean(odds),
        'weight': mean(np.where(asked, tokens.weight, column.weight)),
        'fitted': fitted.all(axis=0),
        'from_tokens': asked.any(axis=0),
    }


def probability(log_odds: Floats) -> Floats:
    """Probabilities of log-odds `[P]`, bounded away from 0 and 1."""
    odds = np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)
