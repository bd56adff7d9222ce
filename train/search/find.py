"""Search for moments that match a sentence, best first, each scene once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoders import Binder, Evidence, Predicate, PredicateBank, PredicateScore
from encoders.predicates.parameters import MIN_WEIGHT
from train.search.arguments import APART_S
from train.search.index import facts_of
from train.search.moment import Moment, apart, best_apart
from train.search.orders import FactOrder, Order, VectorOrder
from train.search.reread import USUAL, Key, Rereading, gather, key_of
from train.search.store import Entry, MomentStore, NoIndexError


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

    If the index keeps facts and some are like the sentence, these order the moments (`FactOrder`),
    else their vectors do (`VectorOrder`). Where the model set has readouts, the best moments are
    encoded again from their bags, and what the bank reads from their tokens counts as well.

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
    bank = PredicateBank([Predicate.from_sentence(sentence)], binder)
    order: Order | None = FactOrder.of(store, facts, bank.predicates[0], modalities)
    if order is None:
        order = VectorOrder.of(store, binder, bank, modalities)
    question = _Question(bank, order)
    rereads = bool(again.count and set(binder.readouts) & set(modalities))
    wanted = max(top, again.count) if rereads else top
    judged_at_most = max((2 if rereads else 4) * wanted, 100)
    gathered: dict[Key, dict[str, Entry]] = {}

    def judged(count: int) -> list[Moment]:
        proposed = sorted(order.propose(store, count), key=lambda p: -p[0])
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
    entries = (entry for near in heard for entry in near.values())
    found = again.of(binder, entries, otherwise=question.order.source)
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
                score=question.order.reread(log_odds / spread, near),
                probability=score.fused,
                cosines=score.similarity,
                calibrated=score.calibrated,
                read_from='tokens' if from_tokens else question.order.source,
            )
        )
    return moments


@dataclass(frozen=True, slots=True)
class _Question:
    """A sentence as the only predicate of a bank, and how it orders moments."""

    bank: PredicateBank
    order: Order

    def judge(self, centre: Entry, evidence: Mapping[str, Entry]) -> Moment:
        """Score a moment by the vectors and facts of all sensors near it."""
        score, _ = self.read({m: Evidence(e.vector) for m, e in evidence.items()})
        probability, is_calibrated = self.order.probability(score, evidence)
        return Moment.of(
            centre,
            score=self.order.stored(score.fused, evidence),
            probability=probability,
            cosines=score.similarity,
            calibrated=is_calibrated,
            read_from=self.order.source,
        )

    def read(self, evidence: Mapping[str, Evidence]) -> tuple[PredicateScore, float]:
        """The score of the sentence, and its log-odds."""
        scores = self.bank.score(evidence)
        return scores[0], float(scores.log_odds[0])

    def counts(self, modality: str) -> bool:
        """Whether a readout of a modality is informative for the sentence; True without one."""
        tokens = self.bank.table.tokens
        if tokens is None or modality not in tokens.columns:
            return True
        return bool(tokens.columns[modality].weight[0] >= MIN_WEIGHT)
