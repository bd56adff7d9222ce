"""Score predicates against embeddings: contrast of sentences, probability, fusion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.binder import Binder
from encoders.calibration import Fit
from encoders.predicate_file import load_predicates
from encoders.predicates import Predicate, PredicateError

# Slope of an uncalibrated score: CLIP's largest logit scale.
DEFAULT_SLOPE = 100.0
MAX_LOG_ODDS = 12.0
# A modality with less weight than this cannot tell; interpolation leaves such remainders.
MIN_WEIGHT = 0.05
# Until this share of the maximum age evidence counts in full; from there on it fades.
FRESH_SHARE = 0.5
# Sentences that are embedded in one go, so that other users of the text tower need not wait long.
CHUNK = 32
# Between two of them, those who wait for the tower come first.
PAUSE_S = 0.002

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PredicateScore:
    """What the sensors say about one predicate at one moment.

    Attributes:
        name: Of the predicate.
        similarity: Cosine between embedding and text contrast, by modality with evidence.
        probability: By modality, from it alone.
        fused: Probability from all modalities that can tell; 0.5 where none can.
        calibrated: Whether the probabilities were fitted from labelled data; otherwise only their
            order means something.
        can_tell: Whether any modality with evidence can tell; otherwise `fused` says nothing.
        reasons: What makes this less than it could be: `infrared stale 1.8 s`,
            `audio cannot tell`, `not calibrated`.
    """

    name: str
    similarity: dict[str, float]
    probability: dict[str, float]
    fused: float
    calibrated: bool
    can_tell: bool = True
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A predicate with its text contrast `[D]` and what calibrates it."""

    predicate: Predicate
    contrast: Floats
    fit: Fit | None
    note: str


@dataclass(frozen=True, slots=True)
class _Column:
    """One modality's values for all `P` predicates, float32 `[P]` or bool `[P]`."""

    asked: NDArray[np.bool_]
    fitted: NDArray[np.bool_]
    slope: Floats
    offset: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class _Reading:
    """One modality's evidence for all `P` predicates, `[P]` each.

    `freshness` is 1 for fresh evidence and 0 for none or for evidence that is too old.
    """

    similarity: Floats
    odds: Floats
    freshness: Floats
    age_ms: float


class PredicateBank:
    """A set of predicates with their text contrasts, ready to score embeddings of one space.

    Raises:
        PredicateError: Two predicates share a name, or one is not usable.
    """

    def __init__(self, predicates: Sequence[Predicate], binder: Binder) -> None:
        self._binder = binder
        self._entries: dict[str, _Entry] = {}
        self._columns: dict[str, _Column] = {}
        names = [predicate.name for predicate in predicates]
        for name in names:
            if names.count(name) > 1:
                raise PredicateError(f'two predicates are named {name!r}', field='name')
        self.extend(predicates)

    @classmethod
    def load(cls, path: str | Path, binder: Binder) -> PredicateBank:
        """A bank from a predicates.yaml (see `load_predicates`)."""
        return cls(load_predicates(path), binder)

    @property
    def space(self) -> str:
        """Identity of the language space of its contrasts."""
        return self._binder.space

    @property
    def binder(self) -> Binder:
        """Whose text tower and calibration it uses."""
        return self._binder

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """In order of addition."""
        return tuple(entry.predicate for entry in self._entries.values())

    def copy(self) -> PredicateBank:
        """Another bank with the same predicates, which can change by itself."""
        other = PredicateBank([], self._binder)
        other._entries = dict(self._entries)
        other._arrange()
        return other

    def add(self, predicate: Predicate) -> None:
        """Add a predicate, or replace the one of the same name.

        Raises:
            PredicateError: Its positive and negative sentences mean the same.
        """
        self.extend([predicate])

    def extend(self, predicates: Sequence[Predicate]) -> None:
        """Add predicates, or replace those of the same names; all or none.

        Raises:
            PredicateError: One is not usable; a line for each.
        """
        refused = self.try_extend(predicates)
        if refused:
            raise PredicateError('\n'.join(refused.values()))

    def try_extend(self, predicates: Sequence[Predicate]) -> dict[str, str]:
        """As `extend`, but gives name to reason of those refused; then none is added."""
        embed_ahead(self._binder, predicates)
        made, refused = {}, {}
        for predicate in predicates:
            try:
                made[predicate.name] = self._entry(predicate)
            except ValueError as error:  # PredicateError, or the text tower's
                refused[predicate.name] = str(error)
        if not refused:
            self._entries |= made
            self._arrange()
        return refused

    def remove(self, name: str) -> None:
        """Remove a predicate.

        Raises:
            KeyError: There is none of that name.
        """
        if name not in self._entries:
            raise KeyError(f'no predicate {name!r}')
        del self._entries[name]
        self._arrange()

    def score(
        self,
        embeddings: Mapping[str, Floats],
        *,
        ages_ms: Mapping[str, float | Sequence[float]] | None = None,
    ) -> list[PredicateScore]:
        """Score all predicates against the newest embedding of each modality.

        Args:
            embeddings: Modality to a unit vector `[D]` of this bank's language space, or to those
                of its sensors `[S, D]`, which are averaged.
            ages_ms: Modality to the age of its evidence, or to one age per sensor. Evidence older
                than a predicate's `max_age_ms` does not count, and fades in the second half of
                it. Where None, all evidence is fresh.
        """
        if not self._entries:
            return []
        readings = {
            name: self._read(name, vectors, None if ages_ms is None else ages_ms[name])
            for name, vectors in embeddings.items()
            if name in self._columns
        }
        fused, can_tell = self._fuse(readings)
        probabilities = {m: _probability(r.odds).tolist() for m, r in readings.items()}
        similarities = {m: r.similarity.tolist() for m, r in readings.items()}
        counts = {m: (r.freshness > 0).tolist() for m, r in readings.items()}
        together = _probability(fused).tolist()
        scores = []
        for index, (name, entry) in enumerate(self._entries.items()):
            present = [m for m, counted in counts.items() if counted[index]]
            scores.append(
                PredicateScore(
                    name=name,
                    similarity={m: similarities[m][index] for m in present},
                    probability={m: probabilities[m][index] for m in present},
                    fused=together[index],
                    calibrated=entry.fit is not None,
                    can_tell=bool(can_tell[index]),
                    reasons=self._reasons(index, entry, readings, present),
                )
            )
        return scores

    def _read(
        self, modality: str, vectors: Floats, ages_ms: float | Sequence[float] | None
    ) -> _Reading:
        column = self._columns[modality]
        rows = np.atleast_2d(np.asarray(vectors, np.float32))
        ages = np.zeros(len(rows)) if ages_ms is None else np.atleast_1d(np.asarray(ages_ms))
        share = ages[:, None] / self._max_age_ms  # [S, P]
        fresh = np.clip((1.0 - share) / (1.0 - FRESH_SHARE), 0.0, 1.0)
        # At its very last moment evidence still counts, if hardly; afterwards it does not.
        fresh = np.where(share <= 1.0, np.maximum(fresh, 1e-6), 0.0) * column.asked
        total = fresh.sum(axis=0)
        similarity = (fresh * (rows @ self._contrasts.T)).sum(axis=0) / np.maximum(total, 1e-9)
        return _Reading(
            similarity=similarity,
            odds=column.slope * similarity + column.offset,
            freshness=fresh.max(axis=0),
            age_ms=float(ages.min()),
        )

    def _fuse(self, readings: Mapping[str, _Reading]) -> tuple[Floats, NDArray[np.bool_]]:
        """Log-odds `[P]` of all modalities together, and whether any of them can tell."""
        total = np.zeros(len(self._entries), np.float32)
        votes = np.zeros_like(total)
        can_tell = np.zeros(len(self._entries), bool)
        for name, reading in readings.items():
            column = self._columns[name]
            total += column.weight * reading.freshness * reading.odds
            counted = reading.freshness > 0
            votes += column.weight * counted
            can_tell |= counted & (column.weight >= MIN_WEIGHT)
        # Fitted weights are for a sum; without a fit the modalities have equal votes.
        return np.where(self._calibrated, total, total / np.maximum(votes, 1e-9)), can_tell

    def _reasons(
        self,
        index: int,
        entry: _Entry,
        readings: Mapping[str, _Reading],
        present: Sequence[str],
    ) -> tuple[str, ...]:
        reasons = []
        for name, column in self._columns.items():
            if not column.asked[index]:
                continue
            if name not in present:
                reading = readings.get(name)
                reasons.append(
                    f'{name} silent' if reading is None else stale(name, reading.age_ms)
                )
            elif column.weight[index] < MIN_WEIGHT:
                reasons.append(f'{name} cannot tell')
            elif entry.fit is not None and not column.fitted[index]:
                reasons.append(f'{name} not calibrated')
        if entry.note:
            reasons.append(entry.note)
        return tuple(reasons)

    def _entry(self, predicate: Predicate) -> _Entry:
        contrast = text_contrast(self._binder, predicate)
        calibration = self._binder.calibration
        fit = None if calibration is None else calibration.fit_for(contrast)
        note = ''
        if predicate.calibration:
            if predicate.calibration_space == self.space:
                fit = _with_own(fit, predicate)
            else:
                note = f'its calibration is of {predicate.calibration_space}, another space'
        if fit is None:
            note = f'not calibrated; {note}' if note else 'not calibrated'
        return _Entry(predicate, contrast, fit, note)

    def _arrange(self) -> None:
        """Stack what scoring needs; `[P, D]` and `[P]` by modality."""
        entries = list(self._entries.values())
        self._contrasts = np.stack([e.contrast for e in entries]) if entries else np.zeros((0, 0))
        self._max_age_ms = np.array([e.predicate.max_age_ms for e in entries])
        self._calibrated = np.array([e.fit is not None for e in entries], bool)
        self._columns = {name: _column(name, entries) for name in self._binder.modalities}


def stale(modality: str, age_ms: float) -> str:
    """`infrared stale 1.8 s`."""
    return f'{modality} stale {age_ms * 1e-3:.1f} s'


def embed_ahead(binder: Binder, predicates: Iterable[Predicate]) -> None:
    """Embed all sentences in chunks; the text tower keeps them for what follows."""
    told = {s for p in predicates for side in p.sentences for s in side if s.strip()}
    sentences = sorted(told, key=len)  # sentences of a length waste no padding on each other
    for start in range(0, len(sentences), CHUNK):
        binder.embed_text(sentences[start : start + CHUNK])
        time.sleep(PAUSE_S)


def text_contrast(binder: Binder, predicate: Predicate) -> Floats:
    """Mean positive minus mean negative sentence vector, `[D]`, unit length.

    The difference carries the state: in a text tower, "open" and "closed" lie close together.

    Raises:
        PredicateError: Positive and negative sentences mean the same to the text tower.
    """
    yes, no = predicate.sentences
    difference = binder.embed_text(yes).mean(axis=0) - binder.embed_text(no).mean(axis=0)
    length = float(np.linalg.norm(difference))
    if length < 1e-4:
        raise PredicateError(
            f'predicate {predicate.name!r}: positive and negative sentences have the same meaning',
            field='negative',
        )
    return np.asarray(difference / length, np.float32)


def _with_own(fit: Fit | None, predicate: Predicate) -> Fit:
    """A fit in which the predicate's own calibration replaces the interpolated one."""
    own = predicate.calibration
    kept = fit if fit is not None else Fit({}, {}, {}, 1.0)
    return Fit(
        slope=kept.slope | {name: line.slope for name, line in own.items()},
        offset=kept.offset | {name: line.offset for name, line in own.items()},
        weight=kept.weight | dict.fromkeys(own, 1.0),
        similarity=1.0,
    )


def _column(name: str, entries: Sequence[_Entry]) -> _Column:
    rows = []
    for entry in entries:
        predicate, fit = entry.predicate, entry.fit
        asked = not predicate.modalities or name in predicate.modalities
        fitted = fit is not None and name in fit.slope
        slope, offset = DEFAULT_SLOPE, 0.0
        if fit is not None and fitted:
            slope, offset = fit.slope[name], fit.offset[name]
        weight = 1.0 if fit is None else fit.weight.get(name, 0.0)
        rows.append((asked, fitted, slope, offset, predicate.weights.get(name, weight)))
    table = np.array(rows, np.float32).reshape(-1, 5).T
    return _Column(table[0] > 0, table[1] > 0, table[2], table[3], table[4])


def _probability(log_odds: Floats) -> Floats:
    odds = np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)
