"""Scores and states over time from embeddings, as in the live node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders import Binder, Predicate, PredicateBank
from encoders.predicates.history import Read
from encoders.predicates.lessons import Lessons
from encoders.predicates.scoring import Evaluation, Scoring
from train.bags.reader import BagReport, read_bag
from train.bags.topics import TRUTH_TOPIC
from train.bags.truth import facts_of
from train.phrasings import Phrasings
from train.score.embed import UNLIMITED
from train.score.parts import Embeddings

HISTORY_S = 2.0  # only the newest evidence is queried


@dataclass(frozen=True, slots=True)
class Scored:
    """All predicates at one moment.

    Attributes:
        time_ns: Stamp of the newest evidence; without new evidence, time of the evaluation.
        log_ns: Recording time of the evidence.
        fresh: Modalities with new evidence at this moment.
        evaluation: Scores and states.
    """

    time_ns: int
    log_ns: int
    fresh: tuple[str, ...]
    evaluation: Evaluation


def track(
    binder: Binder,
    predicates: Sequence[Predicate],
    embeddings: Embeddings,
    *,
    lessons: Lessons | None = None,
    regions: Sequence[str] = (),
) -> Iterator[Scored]:
    """Score embeddings in order of their stamps.

    The embeddings must have been read with the same predicates and lessons (`embed_bag`), or not
    at all; then predicates are read from vectors.

    All evidence with the same stamp is received before it is evaluated. The current time is the
    newest stamp, which is the current time of the live node without computing time.
    """
    bank = PredicateBank(
        predicates, binder, readout_budget_ms=UNLIMITED, lessons=lessons, regions=regions
    )
    scoring = Scoring(bank, history_s=HISTORY_S)
    now_ns = log_ns = 0
    due_ns: int | None = None
    for rows in _moments(embeddings):
        stamp_ns = int(embeddings.stamp_ns[rows[0]])
        # As in the live node: dwell times end and evidence expires even without new evidence.
        while due_ns is not None and now_ns < due_ns < stamp_ns:
            log_ns, now_ns = log_ns + due_ns - now_ns, due_ns
            evaluation = scoring.evaluate(now_ns)
            due_ns = evaluation.due_ns
            yield Scored(now_ns, log_ns, (), evaluation)
        for row in rows:
            scoring.receive(
                str(embeddings.modality[row]),
                embeddings.vectors[row],
                stamp_ns=stamp_ns,
                space=binder.space,
                source=str(embeddings.topic[row]),
                invalid_reason=str(embeddings.invalid_reason[row]),
                read=_known(bank, embeddings, row),
            )
        now_ns, log_ns = max(now_ns, stamp_ns), int(embeddings.log_ns[rows].max())
        fresh = tuple(dict.fromkeys(str(embeddings.modality[row]) for row in rows))
        evaluation = scoring.evaluate(now_ns)
        due_ns = evaluation.due_ns
        yield Scored(now_ns, log_ns, fresh, evaluation)


def _known(bank: PredicateBank, embeddings: Embeddings, row: int) -> Read | None:
    """What the bank reads of a window whose tokens were read when it was encoded."""
    if embeddings.token_odds is None:
        return None
    odds = embeddings.token_odds[row]
    from_tokens = ~np.isnan(odds)
    modality = str(embeddings.modality[row])
    values = bank.similarities(embeddings.vectors[row], modality=modality)[0]
    values[1, from_tokens] = odds[from_tokens]
    if embeddings.taught is not None:
        values = np.concatenate([values, embeddings.taught[row]])
    return values, from_tokens


def _moments(embeddings: Embeddings) -> Iterator[list[int]]:
    order = np.argsort(embeddings.stamp_ns, kind='stable')
    stamps = embeddings.stamp_ns[order]
    cuts = np.flatnonzero(np.diff(stamps)) + 1
    for rows in np.split(order, cuts):
        if len(rows):
            yield [int(row) for row in rows]


def read_truth(bag: Path) -> dict[str, list[tuple[int, bool]]]:
    """Ground truth of a bag by predicate: (stamp, value) in order; empty if there is none."""
    found: dict[str, list[tuple[int, bool]]] = {}
    for message in read_bag(bag, topics=[TRUTH_TOPIC]):
        for name, value in (facts_of(message, BagReport(bag)) or {}).items():
            found.setdefault(name, []).append((message.stamp_ns, value))
    return found


def truth_for(
    predicates: Sequence[Predicate], names: Sequence[str], phrasings: Phrasings
) -> dict[str, str]:
    """Map predicate names to the names of their ground truth, if there is one.

    A predicate matches the truth of the same name, otherwise the one that shares most sentences.
    """
    sentences: dict[str, set[str]] = {}
    for name in names:
        with contextlib.suppress(ValueError):  # without phrasings, only the name can match
            sentences[name] = set(phrasings.sentences(name).positive)
    matched: dict[str, str] = {}
    for predicate in predicates:
        if predicate.name in names:
            matched[predicate.name] = predicate.name
            continue
        shared = {n: len(said & set(predicate.positive)) for n, said in sentences.items()}
        best = max(shared, key=lambda n: shared[n], default=None)
        if best is not None and shared[best]:
            matched[predicate.name] = best
    return matched
