"""Answers to queries in free text."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from encoders import Predicate, PredicateBank, PredicateError, PredicateScore
from encoders.predicates.scoring import Scoring
from encoders.regions import is_region
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import QueryText

DEFAULT_MAX_AGE_MS = 1000.0
MAX_TEXTS = 1000
# How long a modality that only a query uses is encoded after the query.
ASKED_S = 10.0
# How long the first such query waits for an embedding.
WAIT_S = 0.5


class RecentlyAsked:
    """Modalities that recent queries used."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def add(self, modalities: Iterable[str]) -> None:
        """Record the modalities of a query."""
        self._until_s |= dict.fromkeys(modalities, time.monotonic() + ASKED_S)

    def __contains__(self, modality: str) -> bool:
        return time.monotonic() < self._until_s.get(modality, 0.0)


def answer(scoring: Scoring, request: QueryText.Request, *, now_ns: int) -> QueryText.Response:
    """Compare sentences with the evidence at one instant. Blocks while new ones are embedded.

    Args:
        scoring: Source of evidence and calibration.
        request: The request as received.
        now_ns: Current time.
    """
    try:
        _check(scoring, request, now_ns)
        # Answered once, so that no budget applies.
        bank = PredicateBank(
            _of(request.modalities, predicates_of(request.texts)),
            scoring.bank.binder,
            readout_budget_ms=math.inf,
            lessons=scoring.bank.lessons,
            regions=scoring.bank.regions,
        )
    except ValueError as error:  # PredicateError, or the text tower's
        return QueryText.Response(success=False, message=str(error))
    limit_ms = request.max_age_ms or DEFAULT_MAX_AGE_MS
    at_ns = to_ns(request.at) or now_ns - round(request.ago_s * 1e9)
    moment = scoring.at(at_ns, max_age_ms=limit_ms)
    asked = list(request.modalities) or list(bank.binder.modalities)
    # The query's own `max_age_ms` has excluded old evidence; no predicate's limit applies.
    evidence = {m: moment.evidence[m] for m in asked if m in moment.evidence}
    scores = bank.score(evidence)

    def reason(modality: str) -> str:
        if modality not in evidence:
            return f'no {modality} embedding in the last {limit_ms:.0f} ms'
        told = [r for s in scores for r in s.reasons if r.split()[0].rstrip(':') == modality]
        return told[0] if len(told) == len(scores) else ''

    return QueryText.Response(
        success=True,
        modalities=asked,
        similarities=[s.similarity.get(m, math.nan) for s in scores for m in asked],
        probabilities=[s.probability.get(m, math.nan) for s in scores for m in asked],
        fused=[_fused(s) for s in scores],
        ages_ms=[min(moment.ages_ms[m]) if m in evidence else -1.0 for m in asked],
        reasons=[reason(m) for m in asked],
        stamps=[to_stamp(moment.newest_ns[m] if m in evidence else 0) for m in asked],
        calibrated=[s.calibrated for s in scores],
    )


def predicates_of(texts: Sequence[str]) -> list[Predicate]:
    """Return a predicate for each text, named by it; repeated texts get their number appended."""
    found: dict[str, Predicate] = {}
    for number, text in enumerate(texts, 1):
        name = text
        while name in found:
            name = f'{name} ({number})'
        found[name] = Predicate.from_sentence(text, name=name)
    return list(found.values())


def _of(sensors: Sequence[str], predicates: list[Predicate]) -> list[Predicate]:
    """The predicates as asked of these sensors; parts of views must be named."""
    if not any(map(is_region, sensors)):
        return predicates
    return [replace(predicate, modalities=tuple(sensors)) for predicate in predicates]


def _fused(score: PredicateScore) -> float:
    return score.fused if score.can_tell else math.nan


def _check(scoring: Scoring, request: QueryText.Request, now_ns: int) -> None:
    if not request.texts:
        raise PredicateError('there are no texts')
    if len(request.texts) > MAX_TEXTS:
        raise PredicateError(f'{len(request.texts)} texts are more than {MAX_TEXTS}')
    if not 0 <= request.max_age_ms < math.inf:
        raise PredicateError(f'max_age_ms must be 0 or more, not {request.max_age_ms}')
    known = (*scoring.bank.binder.modalities, *scoring.bank.regions)
    for name in request.modalities:
        if name not in known:
            raise PredicateError(f'unknown modality {name!r}, expected some of {", ".join(known)}')
    if not 0 <= request.ago_s < math.inf:
        raise PredicateError(f'ago_s must be 0 or more, not {request.ago_s}')
    back_s = (now_ns - to_ns(request.at)) * 1e-9 if to_ns(request.at) else request.ago_s
    if back_s > scoring.history_s:
        raise PredicateError(
            f'{back_s:.1f} s ago is further back than the {scoring.history_s:.1f} s that are kept'
        )
    if back_s < 0:
        raise PredicateError(f'the moment asked for is {-back_s:.1f} s in the future')
