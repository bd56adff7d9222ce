"""Answers to the question where a readout looks in an image."""

from __future__ import annotations

from collections.abc import Callable

from encoders import MODALITIES, Predicate, PredicateBank, PredicateError
from encoders.model_sets.evidence import Evidence
from encoders.predicates.scoring import Scoring
from encoders.preprocess import LANGUAGEBIND, family_of
from lb_ros.nodes.answering import DEFAULT_MAX_AGE_MS
from lb_ros.ros.stamps import to_ns, to_stamp
from lb_ros.srv import GetAttention


def attention(
    scoring: Scoring,
    request: GetAttention.Request,
    *,
    now_ns: int,
    resolve: Callable[[str], str] = str,
) -> GetAttention.Response:
    """Map the attention to one predicate over an image. Blocks while a new sentence is embedded.

    Args:
        scoring: Source of evidence and predicates.
        request: The request as received.
        now_ns: Current time.
        resolve: Returns the full name of a topic.
    """
    try:
        bank = _bank(scoring.bank, request.text, request.modality)
        source, stamp_ns, evidence = _seen(scoring, request, now_ns, resolve)
    except ValueError as error:  # PredicateError, or the text tower's
        return GetAttention.Response(success=False, message=str(error))
    found = bank.why(request.text, request.modality, evidence)
    return GetAttention.Response(
        success=True,
        stamp=to_stamp(stamp_ns),
        source=resolve(source) if source else '',
        rows=found.shape[0],
        columns=found.shape[1],
        attention=found.ravel().tolist(),
        central_square=family_of(bank.binder.preprocessing[request.modality]) == LANGUAGEBIND,
    )


def _bank(bank: PredicateBank, text: str, modality: str) -> PredicateBank:
    """A bank with the predicate; the given one if it has a predicate of this name."""
    readouts = [n for n in bank.binder.readouts if MODALITIES[n].kind != 'sound']
    if modality not in readouts:
        known = f'those of {", ".join(readouts)} have one' if readouts else 'no modality has one'
        raise PredicateError(
            f'model set {bank.binder.model} has no readout of {modality!r} images: {known}'
        )
    if any(predicate.name == text for predicate in bank.predicates):
        return bank
    return PredicateBank([Predicate.from_sentence(text, name=text)], bank.binder)


def _seen(
    scoring: Scoring, request: GetAttention.Request, now_ns: int, resolve: Callable[[str], str]
) -> tuple[str, int, Evidence]:
    """Source, stamp and evidence that the request is about."""
    at_ns = to_ns(request.at) or now_ns
    wanted = resolve(request.source) if request.source else ''
    found = [
        (source, observation)
        for (modality, source), observation in scoring.observed(
            at_ns, max_age_ms=DEFAULT_MAX_AGE_MS
        )
        if modality == request.modality
        # Within a process, a sensor that is the only one of its modality has no source.
        and (not wanted or not source or resolve(source) == wanted)
    ]
    if not found:
        named = f'{request.modality} {request.source}'.strip()
        raise PredicateError(
            f'no {named} evidence within {DEFAULT_MAX_AGE_MS:.0f} ms of that time'
        )
    source, observation = max(found, key=lambda pair: pair[1].stamp_ns)
    if observation.evidence.tokens is None:
        raise PredicateError(
            f'only the vector of that {request.modality} image is kept: its tokens exceeded '
            'history_tokens_mb, or were not computed because nothing used them'
        )
    return source, observation.stamp_ns, observation.evidence
