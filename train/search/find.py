"""Search for moments that match a sentence, best first, each scene once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Binder, Evidence, Predicate, PredicateBank, PredicateScore
from encoders.predicates.parameters import MIN_WEIGHT
from encoders.predicates.texts import text_vectors
from encoders.predicates.wording import sides
from train.score.facts import FactReader
from train.search.arguments import APART_S
from train.search.index import facts_of
from train.search.moment import Moment, Scale, apart, best_apart
from train.search.reread import USUAL, Key, Rereading, gather, key_of
from train.search.store import Entry, MomentStore, NoIndexError

SAMPLED = 300  # moments for the distribution of scores
# Of the log-odds from tokens next to those of facts, both in standard deviations. Chosen on
# held-out episodes of trained scenes: with 1, fewer sentences in unseen words are found.
READ_SHARE = 0.5

Vector = NDArray[np.float32]


def find_sentence(
    store: MomentStore,
    binder: Binder,
    sentence: str,
    *,
    modalities: Sequence[str],
    top: int,
    apart_s: float = APART_S,
    again: Rereading = USUAL,
) -> list[Moment]:
    """Find the moments that match a sentence best.

    If the index keeps facts and some are like the sentence, the score is their log-odds, from all
    requested sensors, in standard deviations over the index. Otherwise it is the sum of the
    log-odds of the predicate bank used live and of the similarity of the sensor data to the
    sentence itself. The first measures the state (open, not closed), the second whether the named
    things are present.

    Where the model set has readouts, the best moments are encoded again from their bags. What the
    bank reads from their tokens is added to the log-odds of facts, or replaces those of vectors.

    Args:
        store: The index.
        binder: Its model set.
        sentence: What should be the case.
        modalities: Sensors to search in.
        top: Number of answers.
        apart_s: Minimum seconds between answers of one bag.
        again: How the best moments are encoded again.

    Raises:
        SpaceError: The language spaces of index and model differ.
        PredicateError: The sentence is empty.
    """
    store.check_space(binder.space)
    try:
        facts = facts_of(store, binder)
    except NoIndexError as error:
        facts = None
        again.problem(f'{error}; until then, it is searched without')
    question = _Question.ask(store, binder, sentence, modalities=modalities, facts=facts)
    rereads = bool(again.count and set(binder.readouts) & set(modalities))
    wanted = max(top, again.count) if rereads else top
    judged_at_most = max((2 if rereads else 4) * wanted, 100)
    gathered: dict[Key, dict[str, Entry]] = {}

    def judged(count: int) -> list[Moment]:
        proposed = sorted(question.propose(store, count), key=lambda p: -p[0])
        centres = apart([e for _, e in proposed], apart_s=apart_s / 2, top=judged_at_most)
        gathered.update(gather(store, centres, modalities=modalities))
        return [question.judge(centre, gathered[key_of(centre)]) for centre in centres]

    if not rereads:
        return best_apart(judged, store, apart_s=apart_s, top=top)
    candidates = best_apart(judged, store, apart_s=apart_s / 2, top=wanted)
    near = [gathered[key_of(moment)] for moment in candidates]
    moments = _judged_again(question, binder, near, candidates, again=again)
    return apart(sorted(moments, key=lambda moment: -moment.score), apart_s=apart_s, top=top)


def _judged_again(
    question: _Question,
    binder: Binder,
    gathered: Sequence[Mapping[str, Entry]],
    candidates: Sequence[Moment],
    *,
    again: Rereading,
) -> list[Moment]:
    """The candidates with scores from tokens, where their windows could be encoded again."""
    heard = [{m: e for m, e in near.items() if question.counts(m)} or near for near in gathered]
    found = again.of(binder, (entry for near in heard for entry in near.values()))
    read = [
        question.read({m: found.get(key_of(e)) or Evidence(e.vector) for m, e in near.items()})
        for near in heard
    ]
    # Log-odds that hardly differ are not evidence, so that their differences are not enlarged.
    spread = max(float(np.std([log_odds for _, log_odds in read])), 1.0)
    moments = []
    for moment, near, (score, log_odds) in zip(candidates, gathered, read, strict=True):
        from_tokens = any(key_of(entry) in found for entry in near.values())
        moments.append(
            Moment.of(
                near[moment.modality],
                score=question.reread(log_odds / spread, near),
                probability=score.fused,
                cosines=score.similarity,
                calibrated=score.calibrated,
                read_from='tokens' if from_tokens else 'vector',
            )
        )
    return moments


@dataclass(frozen=True, slots=True)
class _Question:
    """A sentence with the distributions to which its scores are compared.

    The score of a moment is approximately the sum over its sensors of the product of their vectors
    with `along`, minus `usual`, so the entries with the largest products are the candidates.
    """

    bank: PredicateBank
    said: Vector
    said_scales: dict[str, Scale]
    odds: Scale
    along: dict[str, Vector]
    usual: dict[str, float]
    facts: _Facts | None

    @classmethod
    def ask(
        cls,
        store: MomentStore,
        binder: Binder,
        sentence: str,
        *,
        modalities: Sequence[str],
        facts: FactReader | None,
    ) -> _Question:
        predicate = Predicate.from_sentence(sentence)
        bank = PredicateBank([predicate], binder)
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
            np.array([_log_odds(bank.score(moment)[0].fused) for moment in moments] or [0.0])
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
        known = None if facts is None else _Facts.ask(store, facts, predicate, list(samples))
        return cls(bank, said, said_scales, odds, along, usual, known)

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """The windows of each sensor with the largest approximate scores, and these scores."""
        if self.facts is not None:
            return self.facts.propose(store, count)
        found = []
        for modality, along in self.along.items():
            length = float(np.linalg.norm(along))
            if length > 0:
                entries = store.nearest(along / length, modality, limit=count)
                found += [(length * e.cosine - self.usual[modality], e) for e in entries]
        return found

    def judge(self, centre: Entry, evidence: Mapping[str, Entry]) -> Moment:
        """Score a moment by the vectors of all sensors near it."""
        score, _ = self.read({m: Evidence(e.vector) for m, e in evidence.items()})
        return Moment.of(
            centre,
            score=self.stored(score.fused, evidence),
            probability=score.fused,
            cosines=score.similarity,
            calibrated=score.calibrated,
        )

    def read(self, evidence: Mapping[str, Evidence]) -> tuple[PredicateScore, float]:
        """The score of the sentence, and its log-odds."""
        scores = self.bank.score(evidence)
        return scores[0], float(scores.log_odds[0])

    def stored(self, probability: float, evidence: Mapping[str, Entry]) -> float:
        """The score of a moment by what the index stores, given its probability from vectors."""
        if self.facts is not None:
            return self.facts(evidence)
        return self.odds(_log_odds(probability)) + self.present(evidence)

    def reread(self, deviations: float, evidence: Mapping[str, Entry]) -> float:
        """The score of a moment whose log-odds were read from tokens."""
        if self.facts is not None:
            return self.facts(evidence) + READ_SHARE * deviations
        return deviations + self.present(evidence)

    def counts(self, modality: str) -> bool:
        """Whether a readout of a modality is informative for the sentence; True without one."""
        tokens = self.bank.table.tokens
        if tokens is None or modality not in tokens.columns:
            return True
        return bool(tokens.columns[modality].weight[0] >= MIN_WEIGHT)

    def present(self, evidence: Mapping[str, Entry]) -> float:
        """The mean similarity of the sensors to the sentence, in standard deviations."""
        near = [
            self.said_scales[m](float(evidence[m].vector @ self.said)) for m in _seen(evidence)
        ]
        return float(np.mean(near))


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts of an index that are like a sentence.

    A sentence in words that the readouts were never trained on is often still like a fact that
    they know, and the facts need no bag to be encoded again.

    Attributes:
        weights: How much each fact says about the sentence, `[F]`.
        usual: Mean of their sum by modality.
        deviation: Standard deviation of the sum over all modalities.
    """

    weights: Vector
    usual: dict[str, float]
    deviation: float

    @classmethod
    def ask(
        cls, store: MomentStore, facts: FactReader, predicate: Predicate, modalities: Sequence[str]
    ) -> _Facts | None:
        """The facts that are like a predicate; None if there are none."""
        weights = facts.like(predicate)
        if weights is None:
            return None
        sums = {m: store.sample_facts(m) @ weights for m in modalities if m in facts.queries}
        sums = {m: values for m, values in sums.items() if len(values)}
        deviation = math.sqrt(sum(float(np.var(values)) for values in sums.values()))
        if deviation == 0:
            return None
        return cls(weights, {m: float(v.mean()) for m, v in sums.items()}, deviation)

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """The windows of each sensor with the largest sums, in standard deviations."""
        return [
            ((value - usual) / self.deviation, entry)
            for modality, usual in self.usual.items()
            for value, entry in store.likely(self.weights, modality, limit=count)
        ]

    def __call__(self, evidence: Mapping[str, Entry]) -> float:
        """The sum over the sensors of a moment, in standard deviations."""
        told = [
            float(entry.facts @ self.weights) - self.usual[modality]
            for modality, entry in evidence.items()
            if modality in self.usual and entry.facts is not None
        ]
        return sum(told) / self.deviation


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


def _log_odds(probability: float) -> float:
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(limited / (1 - limited))
