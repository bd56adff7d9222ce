"""The heads of a taught predicate: fitted to its lesson, for the sensors of a bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from encoders.predicates.lessons import Lesson, Press
from encoders.predicates.parameters import MIN_WEIGHT, Column, Floats, Table
from encoders.predicates.prior import STATISTICS, products
from encoders.predicates.taught import Features, Head, fit

# Distances to the nearest press, in units of that between neighbouring presses: up to NEAR the
# head counts in full, from FAR on the text score stands alone. In scenes of the simulator 90 % of
# the moments of other bags are within 3; of other scenes, half are within 2, a tenth beyond 6.
NEAR, FAR = 3.0, 6.0
MIN_SPREAD = 1e-3  # for presses that are all alike


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
        # PyTorch's product with one vector starts no threads, see `encoders.predicates.posterior`.
        cosines = torch.from_numpy(unit[None]) @ torch.from_numpy(self.known[modality]).T
        nearest = 1.0 - float(cosines.max())
        times = nearest / self.spread[modality]
        return float(np.clip((FAR - times) / (FAR - NEAR), 0.0, 1.0))


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


def taught_of(subject: Subject, table: Table, modalities: Sequence[str]) -> Taught:
    """The heads that the presses of a predicate give, for sensors of `modalities`."""
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
    usable = bool(table.calibrated[place])
    if from_tokens and table.tokens is not None:
        usable = bool(table.tokens.calibrated[place])
    features = _no_features(presses, len(modalities), from_tokens=from_tokens)
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
            features.blocks['vector'][heard, index] = vectors
        if read is None:
            cosines = subject.smoothed(vectors, name)
            features.log_odds[heard, index] = _log_odds(column, place, cosines)
        for row in heard:
            _add_press(features, presses[row], name, read, place, at=(row, index))
    if not usable:  # as in `fuse`, the mean over the sensors that were read
        weights = weights / max(float(weights.sum()), 1e-6)
    text = weights if usable or weights.any() else None
    return fit(features, truth, text, is_calibrated=usable)


def _no_features(presses: Sequence[Press], sensors: int, *, from_tokens: bool) -> Features:
    """Features of some presses, all NaN."""
    shape = (len(presses), sensors)
    width = next(len(v) for press in presses for v in press.vectors.values())
    widths = {'vector': width, 'state': width} if from_tokens else {'vector': width}
    known = [len(values) for press in presses for values in press.statistics.values()]
    if known:
        widths[STATISTICS] = max(known)
    return Features(
        np.full(shape, np.nan, np.float32),
        {name: np.full((*shape, size), np.nan, np.float32) for name, size in widths.items()},
    )


def _add_press(
    features: Features,
    press: Press,
    name: str,
    read: Column | None,
    place: int,
    *,
    at: tuple[int, int],
) -> None:
    """Add the statistics of a sensor, and what was read from its tokens."""
    if name in press.statistics:
        values = np.asarray(press.statistics[name], np.float32)
        block = features.blocks[STATISTICS]
        block[at] = 0.0  # also past the end of those of a sensor with fewer channels
        block[at][: len(values)] = values
    if read is not None and name in press.token_log_odds:
        features.log_odds[at] = _log_odds(read, place, press.token_log_odds[name])
        features.blocks['state'][at] = press.states[name]


def _log_odds(column: Column, place: int, value: Any) -> Any:
    return column.slope[place] * value + column.offset[place]


def _weight(column: Column, place: int) -> float:
    return float(column.weight[place]) if column.fitted[place] else 0.0


def identity_of(subject: Subject, table: Table, modalities: Sequence[str]) -> tuple[object, ...]:
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
