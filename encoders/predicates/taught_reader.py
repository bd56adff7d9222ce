"""The taught predicates of a bank, and what their heads add to a score.

A head is used only near its presses. With distance the text score takes over, and the probability
approaches 0.5 by what teaching has shown to be uncertain: the spreads of the head's prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from encoders.model_sets.evidence import Evidence
from encoders.predicates.fusion import Ages, Scores, probability
from encoders.predicates.parameters import MIN_WEIGHT, Bools, Floats, Table
from encoders.predicates.reasons import Reading
from encoders.predicates.taught import Head
from encoders.predicates.taught_heads import Subject, Taught, identity_of, taught_of

# Rows of `TaughtReader.rows`: what a sensor adds to the head for tokens and to that for vectors,
# and how near it is to the presses.
WITH_TOKENS, FROM_VECTORS, NEARNESS = range(3)
ROWS = 3

# By modality: the mean row of its sensors, and their freshness.
Sums = Mapping[str, tuple[Floats, float]]


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
            identity = identity_of(subject, table, self._modalities)
            known = self._fitted.get(name)
            if known is None or known[0] != identity:
                known = (identity, taught_of(subject, table, self._modalities))
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
