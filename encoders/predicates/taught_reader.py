"""The taught predicates of a bank: their heads, and what these add to a score.

A head is used only near its presses. With distance the text score takes over, and the probability
approaches 0.5 by what teaching has shown to be uncertain: the spreads of the head's prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from encoders.model_sets.evidence import Evidence
from encoders.predicates.fusion import Ages, Scores, probability
from encoders.predicates.lessons import Lesson, Press
from encoders.predicates.parameters import MIN_WEIGHT, Bools, Column, Floats, Table
from encoders.predicates.prior import products
from encoders.predicates.reasons import Reading
from encoders.predicates.taught import Features, Head, fit

# Rows of `TaughtReader.rows`: what a sensor adds to the head for tokens and to that for vectors,
# and how near it is to the presses.
WITH_TOKENS, FROM_VECTORS, NEARNESS = range(3)
ROWS = 3
# Distances to the nearest press, in units of that between neighbouring presses: up to NEAR the
# head counts in full, from FAR on the text score stands alone. In scenes of the simulator 90 % of
# the moments of other bags are within 3; of other scenes, half are within 2, a tenth beyond 6.
NEAR, FAR = 3.0, 6.0
MIN_SPREAD = 1e-3  # for presses that are all alike

# By modality: the mean row of its sensors, and their freshness.
Sums = Mapping[str, tuple[Floats, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A predicate with a lesson, as the bank reads it.

    Attributes:
        place: Index of the predicate.
        lesson: Its presses.
        smoothed: Vectors `[N, D]` of a modality to their cosines with its smoothed contrast,
            `[N]`.
    """

    place: int
    lesson: Lesson
    smoothed: Callable[[Floats, str], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The heads of one predicate, for the sensors `modalities`.

    Attributes:
        place: Index of the predicate.
        lesson: Its presses.
        tokens: Head for moments that were read from tokens; None without such presses of both
            sides.
        vectors: Head for moments that were read from vectors; None without presses of both sides.
        known: By modality, the vectors of the presses, float32 `[N, D]`, unit length.
        spread: By modality, the mean distance of a press to the nearest other one.
        modalities: The sensors, in the order of the heads.
    """

    place: int
    lesson: Lesson
    tokens: Head | None
    vectors: Head | None
    known: Mapping[str, Floats]
    spread: Mapping[str, float]
    modalities: tuple[str, ...]

    @property
    def sensors(self) -> dict[str, float]:
        """The share of each sensor that counts in the log-odds of the presses, largest first."""
        if self.head is None:
            return {}
        shares = zip(self.modalities, self.head.share.tolist(), strict=True)
        return {
            name: share
            for name, share in sorted(shares, key=lambda entry: -entry[1])
            if share >= MIN_WEIGHT
        }

    @property
    def head(self) -> Head | None:
        """The head for the best evidence."""
        return self.tokens or self.vectors

    def nearness(self, modality: str, vector: Floats) -> float:
        """1 near a press, 0 from `FAR` times the distance between neighbouring presses on."""
        if modality not in self.known:
            return 0.0
        unit = vector / max(float(np.linalg.norm(vector)), 1e-6)
        # PyTorch's product with one vector starts no threads, see `encoders.predicates.taught`.
        cosines = torch.from_numpy(unit[None]) @ torch.from_numpy(self.known[modality]).T
        nearest = 1.0 - float(cosines.max())
        times = nearest / self.spread[modality]
        return float(np.clip((FAR - times) / (FAR - NEAR), 0.0, 1.0))


class TaughtReader:
    """The taught predicates of a bank.

    Attributes:
        by_place: Taught predicates by their index.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self._modalities = tuple(modalities)
        # By name: a predicate keeps its heads where others are removed.
        self._fitted: dict[str, tuple[tuple[object, ...], Taught]] = {}
        self.by_place: dict[int, Taught] = {}

    def arrange(self, subjects: Sequence[Subject], table: Table) -> None:
        """Fit the heads of these predicates; those whose presses did not change are kept."""
        fitted = {}
        for subject in subjects:
            name = subject.lesson.predicate.name
            identity = _identity(subject, table, self._modalities)
            known = self._fitted.get(name)
            if known is None or known[0] != identity:
                known = (identity, _taught(subject, table, self._modalities))
            fitted[name] = (identity, replace(known[1], place=subject.place))
        self._fitted = fitted
        self.by_place = {taught.place: taught for _, taught in fitted.values()}

    def copy(self) -> TaughtReader:
        """An independent reader with the same heads."""
        other = TaughtReader(self._modalities)
        other._fitted, other.by_place = dict(self._fitted), dict(self.by_place)
        return other

    def rows(
        self,
        modality: str,
        evidence: Evidence,
        *,
        cosines: Floats,
        values: Floats,
        written: Bools,
        answers: Floats | None,
        table: Table,
    ) -> Floats:
        """What one sensor contributes to the taught predicates, float32 `[ROWS, P]`.

        NaN for predicates that were not taught, and for heads that cannot read the evidence.

        Args:
            modality: Modality of the sensor.
            evidence: Its evidence.
            cosines: Cosines with the smoothed contrasts, `[P]`.
            values: The same, with the readout's log-odds where `written`.
            written: Which predicates were read from tokens, bool `[P]`.
            answers: The readout's answers to the taught predicates, in order, `[T, D]`.
            table: Parameters of the predicates.
        """
        rows = np.full((ROWS, len(cosines)), np.nan, np.float32)
        index, column = self._modalities.index(modality), table.columns[modality]
        vector, base = evidence.vector, {'vector': evidence.vector}
        if evidence.statistics is not None:
            base['statistics'] = evidence.statistics
        for row, (place, taught) in enumerate(self.by_place.items()):
            if not column.asked[place]:
                continue
            rows[NEARNESS, place] = taught.nearness(modality, vector)
            plain = column.slope[place] * cosines[place] + column.offset[place]
            if taught.vectors is not None:
                rows[FROM_VECTORS, place] = _part(taught.vectors, index, plain, base)
            has_readout = table.tokens is not None and modality in table.tokens.columns
            if taught.tokens is None or (has_readout and not written[place]):
                continue
            blocks, odds = dict(base), plain
            if written[place] and table.tokens is not None and answers is not None:
                read = table.tokens.columns[modality]
                odds = read.slope[place] * values[place] + read.offset[place]
                blocks['state'] = answers[row]
            rows[WITH_TOKENS, place] = _part(taught.tokens, index, odds, blocks)
        return rows

    def apply(
        self,
        scores: Scores,
        rows: Mapping[str, Floats],
        *,
        ages_ms: Mapping[str, Ages] | None,
        invalid: Mapping[str, Sequence[str]],
    ) -> Scores:
        """The scores with those of taught predicates.

        Args:
            scores: Scores of the texts.
            rows: By modality, the rows of `rows`, stacked over sensors, `[S, ROWS, P]`.
            ages_ms: As for `fuse`.
            invalid: As for `fuse`.
        """
        log_odds, can_tell = scores.log_odds.copy(), scores.can_tell.copy()
        calibrated, notes = scores.calibrated.copy(), list(scores.table.notes)
        readings = {m: _copied(r) for m, r in scores.readings.items()}
        for place, taught in self.by_place.items():
            sums = {
                name: found
                for name, each in rows.items()
                if name in readings
                and (found := _mean(each[:, :, place], scores, name, place, ages_ms, invalid))
                is not None
            }
            head, row = _head_for(taught, sums)
            if head is None:
                continue
            near = self._near(head, sums)
            odds = head.bias + sum(values[row] * fresh for values, fresh in sums.values())
            text = float(log_odds[place]) if can_tell[place] else 0.0
            log_odds[place] = _mixed(odds, text, near=near, variance=head.variance)
            can_tell[place] |= near > 0
            if near < 0.5:
                notes[place] = '; '.join(filter(None, (notes[place], 'unlike its presses')))
                continue
            calibrated[place] |= head.estimate is not None
            for name, (values, _) in sums.items():
                share = head.share[self._modalities.index(name)]
                readings[name].odds[place] = values[row] + share * head.bias
                readings[name].weight[place] = 1.0 if share >= MIN_WEIGHT else 0.0
                readings[name].fitted[place] = True
        table = replace(scores.table, notes=tuple(notes))
        return Scores(table, readings, probability(log_odds), can_tell, calibrated, log_odds)

    def _near(self, head: Head, sums: Sums) -> float:
        """Nearness to the presses over all sensors, by how much each counts."""
        return float(
            sum(
                head.share[self._modalities.index(name)] * values[NEARNESS] * fresh
                for name, (values, fresh) in sums.items()
            )
        )


def _mixed(taught: float, text: float, *, near: float, variance: float) -> float:
    """Log-odds between those of the head and of the text.

    Far from the presses, they are what remains when normal errors of this variance are averaged.
    """
    mixed = near * taught + (1 - near) * text
    return mixed / math.sqrt(1 + math.pi / 8 * (1 - near) * variance)


def note_of(taught: Taught) -> str:
    """What a score says about being taught: `taught (7 true, 6 false, 0.93 left out)`."""
    yes, no = taught.lesson.counts
    counts = f'{yes} true, {no} false'
    head = taught.head
    if head is None:
        return f'taught ({counts}): needs both'
    if head.estimate is None:
        return f'taught ({counts})'
    return f'taught ({counts}, {head.estimate.accuracy:.2f} left out)'


def _taught(subject: Subject, table: Table, modalities: Sequence[str]) -> Taught:
    presses = subject.lesson.presses
    known, spread = {}, {}
    for name in modalities:
        rows = [press.vectors[name] for press in presses if name in press.vectors]
        if rows:
            stacked = np.asarray(rows, np.float32)
            lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
            known[name] = stacked / np.maximum(lengths, 1e-6)
            spread[name] = _spread(known[name])
    tokens = None
    is_read = [bool(press.token_log_odds) for press in presses]
    if table.tokens is not None and any(is_read):
        read = [press for press, ok in zip(presses, is_read, strict=True) if ok]
        tokens = _fit(subject, read, table, modalities, from_tokens=True)
    vectors = _fit(subject, presses, table, modalities, from_tokens=False)
    return Taught(subject.place, subject.lesson, tokens, vectors, known, spread, tuple(modalities))


def _spread(known: Floats) -> float:
    """Mean distance of a press to the nearest other one."""
    if len(known) < 2:
        return MIN_SPREAD
    apart = 1.0 - products(known)
    np.fill_diagonal(apart, np.inf)
    return max(float(apart.min(axis=1).mean()), MIN_SPREAD)


def _fit(
    subject: Subject,
    presses: Sequence[Press],
    table: Table,
    modalities: Sequence[str],
    *,
    from_tokens: bool,
) -> Head | None:
    place = subject.place
    truth = np.array([press.truth for press in presses], bool)
    if truth.all() or not truth.any():
        return None
    width = next(len(v) for press in presses for v in press.vectors.values())
    shape = (len(presses), len(modalities))
    odds = np.full(shape, np.nan, np.float32)
    blocks = {'vector': np.full((*shape, width), np.nan, np.float32)}
    if from_tokens:
        blocks['state'] = np.full((*shape, width), np.nan, np.float32)
    known = [len(values) for press in presses for values in press.statistics.values()]
    if known:  # 0 past the end of those of a sensor with fewer channels
        blocks['statistics'] = np.full((*shape, max(known)), np.nan, np.float32)
    usable = table.calibrated[place]
    if from_tokens and table.tokens is not None:
        usable = table.tokens.calibrated[place]
    weights = np.zeros(len(modalities))
    for index, name in enumerate(modalities):
        column = table.columns[name]
        if not column.asked[place]:
            continue
        read = table.tokens.columns.get(name) if table.tokens and from_tokens else None
        read = read if read is not None and read.asked[place] else None
        weights[index] = _weight(read or column, place)
        if read is not None and not usable:
            weights[index] = read.weight[place]
        heard = [row for row, press in enumerate(presses) if name in press.vectors]
        if not heard:
            continue
        vectors = np.array([presses[row].vectors[name] for row in heard], np.float32)
        # Next to an answer to a good text, the vector adds what does not hold in other scenes.
        if read is None or not usable:
            blocks['vector'][heard, index] = vectors
        if read is None:
            cosines = subject.smoothed(vectors, name)
            odds[heard, index] = column.slope[place] * cosines + column.offset[place]
        for row in heard:
            press = presses[row]
            if name in press.statistics:
                values = np.asarray(press.statistics[name], np.float32)
                blocks['statistics'][row, index] = np.pad(values, (0, max(known) - len(values)))
            if read is not None and name in press.token_log_odds:
                odds[row, index] = (
                    read.slope[place] * press.token_log_odds[name] + read.offset[place]
                )
                blocks['state'][row, index] = press.states[name]
    if not usable:  # as in `fuse`, the mean over the sensors that were read
        weights = weights / max(float(weights.sum()), 1e-6)
    text = weights if usable or weights.any() else None
    return fit(Features(odds, blocks), truth, text, is_calibrated=bool(usable))


def _weight(column: Column, place: int) -> float:
    return float(column.weight[place]) if column.fitted[place] else 0.0


def _part(head: Head, index: int, log_odds: float, blocks: Mapping[str, Floats]) -> float:
    """What one sensor adds to the log-odds of a head; NaN if it lacks something that counts."""
    found = head.slope[index] * log_odds + head.shift[index]
    for name, weights in head.weights.items():
        if not weights[index].any():  # also of a sensor that no press has, of any width
            continue
        if name not in blocks:
            return math.nan
        values = np.asarray(blocks[name], np.float32)
        found += float(weights[index, : len(values)] @ values)
    return float(found)


def _identity(subject: Subject, table: Table, modalities: Sequence[str]) -> tuple[object, ...]:
    """Everything that a fit depends on."""
    place = subject.place
    columns = [table.columns[name] for name in modalities]
    columns += [] if table.tokens is None else list(table.tokens.columns.values())
    numbers = [
        (bool(c.asked[place]), bool(c.fitted[place]), *map(float, (c.slope[place],
         c.offset[place], c.weight[place])))
        for c in columns
    ]  # fmt: skip
    return subject.lesson, *numbers, bool(table.calibrated[place])


def _mean(
    rows: Floats,
    scores: Scores,
    modality: str,
    place: int,
    ages_ms: Mapping[str, Ages] | None,
    invalid: Mapping[str, Sequence[str]],
) -> tuple[Floats, float] | None:
    """The mean row `[ROWS]` of a modality's sensors, and their freshness; None without any."""
    reading = scores.readings[modality]
    fresh = float(reading.freshness[place])
    if not reading.counts or not fresh > 0:
        return None
    used = np.ones(len(rows), bool)
    reasons = invalid.get(modality, ())
    if any(reasons):
        used &= np.array([not reason for reason in reasons], bool)
    if ages_ms is not None:
        limit_ms = scores.table.limits_ms[scores.table.limit_of[place]]
        used &= np.atleast_1d(np.asarray(ages_ms[modality])) <= limit_ms
    return (rows[used].mean(axis=0), fresh) if used.any() else None


def _head_for(taught: Taught, sums: Sums) -> tuple[Head | None, int]:
    """The head that can read what there is, and its row."""
    for row, head in ((WITH_TOKENS, taught.tokens), (FROM_VECTORS, taught.vectors)):
        if head is not None and sums and all(np.isfinite(v[row]) for v, _ in sums.values()):
            return head, row
    return None, 0


def _copied(reading: Reading) -> Reading:
    """A reading whose log-odds and parameters may be changed."""
    return replace(
        reading,
        odds=reading.odds.copy(),
        weight=np.array(reading.weight, np.float32),
        fitted=np.array(reading.fitted, bool),
    )
