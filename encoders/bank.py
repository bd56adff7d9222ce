"""Score predicates against embeddings: contrast of sentences, probability, fusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.binder import Binder
from encoders.calibration import Fit
from encoders.predicates import Predicate, PredicateError, load_predicates

# Slope of an uncalibrated score: CLIP's largest logit scale.
DEFAULT_SLOPE = 100.0
MAX_LOG_ODDS = 12.0


@dataclass(frozen=True, slots=True)
class PredicateScore:
    """What the sensors say about one predicate at one moment.

    Attributes:
        name: Of the predicate.
        similarity: Cosine between embedding and text contrast, by modality.
        probability: By modality.
        fused: Probability from all modalities that can tell.
        calibrated: Whether the probabilities were fitted from labelled data; otherwise only their
            order means something.
    """

    name: str
    similarity: dict[str, float]
    probability: dict[str, float]
    fused: float
    calibrated: bool


class PredicateBank:
    """A set of predicates with their text contrasts, ready to score embeddings of one space.

    Raises:
        PredicateError: Two predicates share a name.
    """

    def __init__(self, predicates: Sequence[Predicate], binder: Binder) -> None:
        self._binder = binder
        self._predicates: dict[str, Predicate] = {}
        self._contrasts: dict[str, NDArray[np.float32]] = {}
        self._fits: dict[str, Fit | None] = {}
        for predicate in predicates:
            if predicate.name in self._predicates:
                raise PredicateError(f'two predicates are named {predicate.name!r}')
            self.add(predicate)

    @classmethod
    def load(cls, path: str | Path, binder: Binder) -> PredicateBank:
        """A bank from a predicates.yaml (see `load_predicates`)."""
        return cls(load_predicates(path), binder)

    @property
    def space(self) -> str:
        """Identity of the language space of its contrasts."""
        return self._binder.space

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """In order of addition."""
        return tuple(self._predicates.values())

    def add(self, predicate: Predicate) -> None:
        """Add a predicate, or replace the one of the same name."""
        contrast = text_contrast(self._binder, predicate)
        calibration = self._binder.calibration
        self._contrasts[predicate.name] = contrast
        self._fits[predicate.name] = None if calibration is None else calibration.fit_for(contrast)
        self._predicates[predicate.name] = predicate

    def remove(self, name: str) -> None:
        """Remove a predicate.

        Raises:
            KeyError: There is none of that name.
        """
        if name not in self._predicates:
            raise KeyError(f'no predicate {name!r}')
        for table in (self._predicates, self._contrasts, self._fits):
            table.pop(name)

    def score(self, embeddings: Mapping[str, NDArray[np.float32]]) -> list[PredicateScore]:
        """Score all predicates against the newest embedding of each modality.

        Args:
            embeddings: Modality to a unit vector `[D]` or `[1, D]` of this bank's language space.
        """
        vectors = {m: np.asarray(z, np.float32).reshape(-1) for m, z in embeddings.items()}
        return [self._score(predicate, vectors) for predicate in self._predicates.values()]

    def _score(
        self, predicate: Predicate, vectors: Mapping[str, NDArray[np.float32]]
    ) -> PredicateScore:
        contrast, fit = self._contrasts[predicate.name], self._fits[predicate.name]
        asked = [m for m in vectors if not predicate.modalities or m in predicate.modalities]
        similarity = {m: float(vectors[m] @ contrast) for m in asked}
        odds = {m: _log_odds(value, m, fit) for m, value in similarity.items()}
        return PredicateScore(
            name=predicate.name,
            similarity=similarity,
            probability={m: _probability(value) for m, value in odds.items()},
            fused=_probability(_fuse(odds, fit)),
            calibrated=fit is not None,
        )


def text_contrast(binder: Binder, predicate: Predicate) -> NDArray[np.float32]:
    """Mean positive minus mean negative sentence vector, `[D]`, unit length.

    The difference carries the state: in a text tower, "open" and "closed" lie close together.

    Raises:
        PredicateError: Positive and negative sentences mean the same to the text tower.
    """
    positive = binder.embed_text(predicate.positive).mean(axis=0)
    negative = binder.embed_text(predicate.negative).mean(axis=0)
    difference = positive - negative
    length = float(np.linalg.norm(difference))
    if length < 1e-4:
        raise PredicateError(
            f'predicate {predicate.name!r}: positive and negative sentences have the same meaning'
        )
    return np.asarray(difference / length, np.float32)


def _log_odds(similarity: float, modality: str, fit: Fit | None) -> float:
    if fit is None or modality not in fit.slope:
        return DEFAULT_SLOPE * similarity
    return fit.slope[modality] * similarity + fit.offset[modality]


def _fuse(odds: Mapping[str, float], fit: Fit | None) -> float:
    if not odds:
        return 0.0
    if fit is None:
        return sum(odds.values()) / len(odds)
    return sum(fit.weight.get(m, 0.0) * value for m, value in odds.items())


def _probability(log_odds: float) -> float:
    limited = max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, log_odds))
    return 1.0 / (1.0 + math.exp(-limited))
