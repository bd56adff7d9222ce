"""Cosines to probabilities: fitted for known predicates, interpolated for new sentences.

A cosine of two embeddings is not a probability, and a modality that is not informative must not
count. Both are learned from labelled bags, per predicate and modality. A new sentence takes the
values of the most similar fitted facts (calibrated prototypes) or of their opposites, and its
contrast is smoothed towards theirs: encoders learned these directions, and the text tower places
other wordings of the same fact at some distance from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from encoders.model_sets.anchors import Anchors, Facts, anchored, anchors_of
from encoders.model_sets.manifest import share_with_readers

FILE = 'calibration.safetensors'
# Small, so that the many predicates of one relation do not outweigh the nearest one.
SIMILARITY_SCALE = 0.025
MIN_SIMILARITY = 0.45

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fit:
    """Calibration of one predicate in each modality.

    The log-odds of a modality are `slope * cosine + offset`; the fused log-odds are their sum,
    weighted by `weight`, which is 0 for a modality that is not informative.

    Attributes:
        slope, offset, weight: Values by modality.
        similarity: Cosine to the nearest fitted predicate; 1 for a fitted one.
    """

    slope: dict[str, float]
    offset: dict[str, float]
    weight: dict[str, float]
    similarity: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a pair of sides is like each of the `N` facts of a calibration.

    Attributes:
        share: Weights of the facts `[N]`, whose sum is 1.
        order: The order in which each fits, from 1 to -1 for exchanged sides, `[N]`.
        nearest: Similarity of the nearest fact.
    """

    share: Floats
    order: Floats
    nearest: float


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Calibration:
    """Fitted values of `N` predicates in `M` modalities.

    Attributes:
        space: Language space of the contrasts.
        names: `N` predicate names.
        modalities: `M` names.
        contrasts: float32 `[N, D]`, unit length: mean positive minus mean negative sentence.
        slopes, offsets, weights: float32 `[N, M]`; NaN where a predicate was not fitted in a
            modality, because the calibrations of several sets were joined.
        positives, negatives: float32 `[N, D]`, unit length: the mean positive and the mean
            negative sentence. If they are None, facts are compared by their contrasts.
    """

    space: str
    names: tuple[str, ...]
    modalities: tuple[str, ...]
    contrasts: Floats
    slopes: Floats
    offsets: Floats
    weights: Floats
    positives: Floats | None = None
    negatives: Floats | None = None

    @cached_property
    def parts(self) -> tuple[Calibration, ...]:
        """The calibrations that were joined, by their first modality; itself if it is one.

        A modality is calibrated by the facts that were fitted in it. Those of other sensors, which
        it cannot know, must not move what it reads.
        """
        known = np.isfinite(self.slopes)
        if known.all():
            return (self,)
        columns: dict[bytes, list[int]] = {}
        for column in range(len(self.modalities)):
            columns.setdefault(known[:, column].tobytes(), []).append(column)
        return tuple(self.only(known[:, some[0]], some) for some in columns.values())

    def only(self, rows: NDArray[np.bool_], columns: Sequence[int] | None = None) -> Calibration:
        """Some of the facts, bool `[N]`, and some of the modalities, by index; None for all."""
        columns = range(len(self.modalities)) if columns is None else columns
        sides = (self.positives, self.negatives)
        return Calibration(
            self.space,
            tuple(name for name, kept in zip(self.names, rows, strict=True) if kept),
            tuple(self.modalities[column] for column in columns),
            self.contrasts[rows],
            # In the order of rows, as a calibration is loaded: another order sums otherwise.
            *(
                np.ascontiguousarray(table[rows][:, columns])
                for table in (self.slopes, self.offsets, self.weights)
            ),
            *(None if side is None else side[rows] for side in sides),
        )

    def of_modalities(self, modalities: Sequence[str]) -> tuple[Calibration, ...]:
        """Its parts with only some modalities; parts without any are left out."""
        found = []
        for part in self.parts:
            columns = [k for k, name in enumerate(part.modalities) if name in modalities]
            if columns:
                found.append(part.only(np.ones(len(part.names), bool), columns))
        return tuple(found)

    def part_of(self, modality: str) -> int:
        """Index of the part that calibrates a modality; that of the first if none does."""
        return next((k for k, part in enumerate(self.parts) if modality in part.modalities), 0)

    @cached_property
    def facts(self) -> Facts:
        """The facts of the calibration and their opposites."""
        if self.positives is None or self.negatives is None:
            return Facts.of(self.contrasts, -self.contrasts, self.contrasts)
        return Facts.of(self.positives, self.negatives, self.contrasts)

    def compared(self, said: Floats, contrasts: Floats) -> Floats:
        """The vectors to compare with `facts.said`: sentences, or contrasts if those are all."""
        return contrasts if self.positives is None else said

    @classmethod
    def load_if_present(cls, folder: Path, *, file: str = FILE) -> Calibration | None:
        """The calibration of a model set, or None; `file` is its name in the folder."""
        path = folder / file
        if not path.is_file():
            return None
        with safe_open(path, 'numpy') as stored:
            described = json.loads(stored.metadata()['calibration'])
            arrays = {
                key: stored.get_tensor(key).astype(np.float32) for key in sorted(stored.keys())
            }
        return cls(
            space=described['space'],
            names=tuple(described['names']),
            modalities=tuple(described['modalities']),
            **arrays,
        )

    def save(self, folder: Path, *, file: str = FILE) -> None:
        """Write the calibration into the folder of a model set, under the name `file`."""
        arrays: dict[str, NDArray[Any]] = {
            'contrasts': self.contrasts.astype(np.float16),
            'slopes': self.slopes.astype(np.float32),
            'offsets': self.offsets.astype(np.float32),
            'weights': self.weights.astype(np.float32),
        }
        if self.positives is not None and self.negatives is not None:
            arrays['positives'] = self.positives.astype(np.float16)
            arrays['negatives'] = self.negatives.astype(np.float16)
        described = {'space': self.space, 'names': self.names, 'modalities': self.modalities}
        save_file(arrays, folder / file, metadata={'calibration': json.dumps(described)})
        share_with_readers(folder / file)

    def fit_for(self, said: Floats, contrast: Floats) -> Fit | None:
        """Calibration for a text, averaged over the most similar prototypes.

        Args:
            said: Mean positive sentence, `[D]`, unit length.
            contrast: Contrast, `[D]`, unit length.

        Returns:
            The calibration, or None if no prototype is similar enough.
        """
        if len(self.parts) > 1:
            return united([part.fit_for(said, contrast) for part in self.parts])
        similarity = self.facts.said @ self.compared(said, contrast)
        nearest = float(similarity.max(initial=-1.0))
        if nearest < MIN_SIMILARITY:
            return None
        share = np.exp((similarity - nearest) / SIMILARITY_SCALE)
        as_fact, as_opposite = np.split(share / share.sum(), 2)
        # The log-odds of an opposite are negated: -(slope * cosine + offset).
        return self._fit(
            (as_fact + as_opposite) @ self.slopes,
            (as_fact - as_opposite) @ self.offsets,
            (as_fact + as_opposite) @ self.weights,
            similarity=nearest,
        )

    def _fit(self, *rows: Floats, similarity: float) -> Fit:
        """Slopes, offsets and weights `[M]` by modality."""
        slope, offset, weight = (
            dict(zip(self.modalities, row.tolist(), strict=True)) for row in rows
        )
        return Fit(slope, offset, weight, similarity=similarity)

    def fit_for_sides(self, positive: Floats, negative: Floats) -> Fit | None:
        """Calibration of a pair of sides, whichever of them is asked for.

        Facts are compared as unordered pairs; the order in which a fact fits better gives the sign
        of its offset. So exchanged sides have the same slopes and weights, and exactly negated
        offsets: where one is likely, the other is as unlikely.

        Args:
            positive: Mean positive sentence, `[D]`.
            negative: Mean negative sentence, `[D]`.

        Returns:
            The calibration, or None if no fact is similar enough.
        """
        if len(self.parts) > 1:
            return united([part.fit_for_sides(positive, negative) for part in self.parts])
        return self.fit_like(self.facts_like(positive, negative))

    def fit_like(self, facts: Likeness) -> Fit | None:
        """As `fit_for_sides`, from the result of `facts_like`."""
        if facts.nearest < MIN_SIMILARITY:
            return None
        offsets = np.asarray((facts.share * facts.order) @ self.offsets, np.float32)
        slopes, weights = facts.share @ self.slopes, facts.share @ self.weights
        return self._fit(slopes, offsets, weights, similarity=facts.nearest)

    def facts_like(self, positive: Floats, negative: Floats) -> Likeness:
        """The fitted facts most similar to a pair of sides; exchanged sides give the same facts.

        Args:
            positive: Mean positive sentence, `[D]`.
            negative: Mean negative sentence, `[D]`.
        """
        said = positive / max(float(np.linalg.norm(positive)), 1e-6)
        denied = negative / max(float(np.linalg.norm(negative)), 1e-6)
        if self.positives is None or self.negatives is None:
            as_fact = self.contrasts @ said - self.contrasts @ denied
            as_opposite = -as_fact
        else:
            as_fact = (self.positives @ said + self.negatives @ denied) / 2
            as_opposite = (self.negatives @ said + self.positives @ denied) / 2
        similarity = np.maximum(as_fact, as_opposite)
        nearest = float(similarity.max(initial=-1.0))
        share = np.exp((similarity - nearest) / SIMILARITY_SCALE)
        share /= share.sum()
        # A fact that fits in both orders says nothing about the sign.
        order = np.clip((as_fact - as_opposite) / np.float32(SIMILARITY_SCALE), -1.0, 1.0)
        return Likeness(share, np.asarray(order, np.float32), nearest)

    def anchors_for(self, said: Floats, contrasts: Floats) -> Anchors:
        """Smoothing of texts, given their sentences and contrasts, `[P, D]`, unit rows."""
        return anchors_of(self.compared(said, contrasts), contrasts, self.facts)

    def anchored(self, said: Floats, contrasts: Floats) -> Floats:
        """Contrasts `[P, D]` smoothed towards prototypes; see `anchors_for`."""
        return anchored(self.compared(said, contrasts), contrasts, self.facts)


def united(fits: Sequence[Fit | None]) -> Fit | None:
    """The values of the modalities of several parts; None if no part knows the text."""
    found = [fit for fit in fits if fit is not None]
    if not found:
        return None
    slope: dict[str, float] = {}
    offset: dict[str, float] = {}
    weight: dict[str, float] = {}
    for fit in found:
        slope |= fit.slope
        offset |= fit.offset
        weight |= fit.weight
    return Fit(slope, offset, weight, similarity=max(fit.similarity for fit in found))


def join_calibrations(calibrations: Sequence[Calibration]) -> Calibration:
    """One calibration from several of different modalities of the same language space.

    Each modality keeps exactly the facts and values of its own calibration (`parts`).

    Raises:
        ValueError: A modality is in two of them, or one has no sentences and another has.
    """
    parts = [part for each in calibrations for part in each.parts]
    modalities = tuple(name for part in parts for name in part.modalities)
    if len(set(modalities)) < len(modalities):
        raise ValueError(f'two calibrations have a modality in common: {", ".join(modalities)}')
    if len({part.positives is None for part in parts}) > 1:
        raise ValueError('a calibration has no sentences; calibrate it again')
    # Facts that several know are stored several times, so that each part keeps its order.
    starts = np.cumsum([0, *(len(part.names) for part in parts)])
    rows = [slice(start, stop) for start, stop in pairwise(starts)]
    tables = np.full((3, starts[-1], len(modalities)), np.nan, np.float32)
    texts: list[Floats | None] = []
    for attribute in ('contrasts', 'positives', 'negatives'):
        found = [getattr(part, attribute) for part in parts]
        texts.append(None if found[0] is None else np.concatenate(found))
    column = 0
    for part, own in zip(parts, rows, strict=True):
        columns = slice(column, column + len(part.modalities))
        for table, values in zip(tables, (part.slopes, part.offsets, part.weights), strict=True):
            table[own, columns] = values
        column = columns.stop
    names = tuple(name for part in parts for name in part.names)
    contrasts, positives, negatives = texts
    assert contrasts is not None
    slopes, offsets, weights = tables
    return Calibration(
        parts[0].space,
        names,
        modalities,
        contrasts,
        slopes,
        offsets,
        weights,
        positives,
        negatives,
    )
