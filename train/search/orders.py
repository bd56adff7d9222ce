"""By what a sentence orders moments: by facts that an index keeps, or by vectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Binder, Predicate, PredicateBank, PredicateScore
from encoders.predicates.texts import text_vectors
from encoders.predicates.wording import sides
from train.score.facts import FactReader
from train.search.moment import Scale, Source
from train.search.store import Entry, MomentStore

SAMPLED = 300  # moments for the distribution of scores
# Of the log-odds from tokens next to those of facts, both in standard deviations. Chosen on
# held-out episodes of trained scenes: with 1, fewer sentences in unseen words are found.
READ_SHARE = 0.5
# A sentence is nearly a fact from this similarity on. On the shipped set, most facts in trained
# words have 0.85 to 0.98; "the plate is upside down" has 0.81 with "the plate is on the plate".
NEARLY = 0.85

Vector = NDArray[np.float32]


class Order(Protocol):
    """Scores of moments for one sentence, in standard deviations over the index.

    Attributes:
        source: What it orders by without tokens.
    """

    source: ClassVar[Source]

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """The windows of each sensor with the largest approximate scores, and these scores."""
        ...

    def stored(self, probability: float, evidence: Mapping[str, Entry]) -> float:
        """The score of a moment by what the index stores.

        Args:
            probability: Of the sentence, from the vectors of the moment.
            evidence: The window of each sensor.
        """
        ...

    def reread(self, deviations: float, evidence: Mapping[str, Entry]) -> float:
        """The score of a moment whose log-odds were read from tokens."""
        ...

    def probability(
        self, score: PredicateScore, evidence: Mapping[str, Entry]
    ) -> tuple[float, bool]:
        """The probability of a moment, and whether it was fitted to labelled data.

        Args:
            score: Of the sentence, from the vectors of the moment.
            evidence: The window of each sensor.
        """
        ...


@dataclass(frozen=True, slots=True)
class FactOrder:
    """Moments by the facts of an index that are like a sentence; implements `Order`.

    A sentence in words that the readouts were never trained on is often still like a fact that
    they know, and the facts need no bag to be encoded again.

    Attributes:
        weights: How much each fact says about the sentence, `[F]`.
        usual: Mean of their sum by modality.
        deviation: Standard deviation of the sum over all modalities.
        is_known: Whether one of the facts is nearly the sentence.
    """

    source: ClassVar[Source] = 'facts'
    weights: Vector
    usual: dict[str, float]
    deviation: float
    is_known: bool

    @classmethod
    def of(
        cls,
        store: MomentStore,
        facts: FactReader | None,
        predicate: Predicate,
        modalities: Sequence[str],
    ) -> FactOrder | None:
        """The facts that are like a predicate; None if the index keeps none, or none is."""
        alike = None if facts is None else facts.like(predicate)
        if facts is None or alike is None:
            return None
        weights, nearest = alike
        sums = {m: store.sample_facts(m) @ weights for m in modalities if m in facts.queries}
        sums = {m: values for m, values in sums.items() if len(values)}
        deviation = math.sqrt(sum(float(np.var(values)) for values in sums.values()))
        if deviation == 0:
            return None
        usual = {m: float(v.mean()) for m, v in sums.items()}
        return cls(weights, usual, deviation, is_known=nearest >= NEARLY)

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """See `Order`."""
        return [
            ((value - usual) / self.deviation, entry)
            for modality, usual in self.usual.items()
            for value, entry in store.likely(self.weights, modality, limit=count)
        ]

    def stored(self, probability: float, evidence: Mapping[str, Entry]) -> float:
        """See `Order`; the facts know more than the vectors."""
        return self._deviations(evidence)

    def reread(self, deviations: float, evidence: Mapping[str, Entry]) -> float:
        """See `Order`."""
        return self._deviations(evidence) + READ_SHARE * deviations

    def probability(
        self, score: PredicateScore, evidence: Mapping[str, Entry]
    ) -> tuple[float, bool]:
        """That of the facts, which are calibrated; it is the sentence's if one is nearly it."""
        found = self._log_odds(evidence)
        return (1 + math.tanh(sum(found.values()) / 2)) / 2, bool(found) and self.is_known

    def _deviations(self, evidence: Mapping[str, Entry]) -> float:
        found = self._log_odds(evidence)
        return sum(found[name] - self.usual[name] for name in found) / self.deviation

    def _log_odds(self, evidence: Mapping[str, Entry]) -> dict[str, float]:
        """The log-odds of the sentence from each sensor with facts."""
        return {
            modality: float(entry.facts @ self.weights)
            for modality, entry in evidence.items()
            if modality in self.usual and entry.facts is not None
        }


@dataclass(frozen=True, slots=True)
class VectorOrder:
    """Moments by their vectors; implements `Order`.

    The score is the sum of the log-odds of the predicate bank used live, and of the similarity of
    the sensor data to the sentence itself. The first measures the state (open, not closed), the
    second whether the named things are present.

    The score of a moment is approximately the sum over its sensors of the product of their vectors
    with `along`, minus `usual`, so the entries with the largest products are the candidates.
    """

    source: ClassVar[Source] = 'vector'
    said: Vector
    said_scales: dict[str, Scale]
    odds: Scale
    along: dict[str, Vector]
    usual: dict[str, float]

    @classmethod
    def of(
        cls, store: MomentStore, binder: Binder, bank: PredicateBank, modalities: Sequence[str]
    ) -> VectorOrder:
        """How the vectors of an index are to be compared with the only predicate of a bank."""
        predicate = bank.predicates[0]
        if binder.readouts:
            # What the readouts are asked is right for denials as well, so that the vectors propose
            # what the readouts look for.
            predicate = Predicate(predicate.name, *sides(predicate))
        said, contrast = text_vectors(binder, predicate)
        contrasts = dict.fromkeys(modalities, contrast)
        if binder.calibration is not None and bank.table.calibrated[0]:
            for part in binder.calibration.parts:
                read = part.anchored(said[None], contrast[None])[0]
                contrasts |= dict.fromkeys(part.modalities, read)
        samples = {m: store.sample(m) for m in modalities}
        samples = {m: rows for m, rows in samples.items() if len(rows)}
        count = min((len(rows) for rows in samples.values()), default=0)
        moments = [{m: rows[i] for m, rows in samples.items()} for i in range(min(count, SAMPLED))]
        odds = Scale.of(
            np.array([log_odds(bank.score(moment)[0].fused) for moment in moments] or [0.0])
        )
        said_scales = {m: Scale.of(rows @ said) for m, rows in samples.items()}
        seen = _seen(samples)
        slopes = _slopes(bank, samples)
        along = {
            m: np.asarray(
                slopes.get(m, 0.0) / odds.deviation * contrasts[m]
                + (said / (said_scales[m].deviation * len(seen)) if m in seen else 0.0),
                np.float32,
            )
            for m in samples
        }
        usual = {m: float((rows @ along[m]).mean()) for m, rows in samples.items()}
        return cls(said, said_scales, odds, along, usual)

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """See `Order`."""
        found = []
        for modality, along in self.along.items():
            length = float(np.linalg.norm(along))
            if length > 0:
                entries = store.nearest(along / length, modality, limit=count)
                found += [(length * e.cosine - self.usual[modality], e) for e in entries]
        return found

    def stored(self, probability: float, evidence: Mapping[str, Entry]) -> float:
        """See `Order`."""
        return self.reread(self.odds(log_odds(probability)), evidence)

    def reread(self, deviations: float, evidence: Mapping[str, Entry]) -> float:
        """See `Order`; the log-odds replace those from vectors."""
        near = [
            self.said_scales[m](float(evidence[m].vector @ self.said)) for m in _seen(evidence)
        ]
        return deviations + float(np.mean(near))

    def probability(
        self, score: PredicateScore, evidence: Mapping[str, Entry]
    ) -> tuple[float, bool]:
        """That of the vectors."""
        return score.fused, score.calibrated


def _seen(modalities: Iterable[str]) -> list[str]:
    """Modalities that show objects; the others sense events, and are used only on their own."""
    given = list(modalities)
    return [m for m in given if MODALITIES[m].kind in ('image', 'clip')] or given


def _slopes(bank: PredicateBank, modalities: Iterable[str]) -> dict[str, float]:
    """Derivatives of the fused log-odds of a bank's only sentence by each modality's cosine."""
    columns = {m: bank.table.columns[m] for m in modalities if m in bank.table.columns}
    votes = sum(float(column.weight[0]) for column in columns.values())
    scale = 1.0 if bank.table.calibrated[0] else 1.0 / max(votes, 1e-9)
    return {m: scale * float(c.weight[0] * c.slope[0]) for m, c in columns.items()}


def log_odds(probability: float) -> float:
    """The log-odds of a probability, limited to six digits."""
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(limited / (1 - limited))
