"""Between the records of this package and its messages."""

from __future__ import annotations

import math

from encoders import Predicate, TrackedState
from encoders.predicates import predicate_from_entry
from lb_ros.msg import Predicate as PredicateMsg
from lb_ros.msg import PredicateScore as PredicateScoreMsg
from lb_ros.msg import PredicateScores, PredicateState, PredicateStates
from lb_ros.scoring import Evaluation
from lb_ros.stamps import to_stamp

NUMBERS = ('threshold_on', 'threshold_off', 'dwell_ms', 'max_age_ms')


def scores_message(
    evaluation: Evaluation, *, space: str, now_ns: int, score_ms: float
) -> PredicateScores:
    """All scores of one evaluation."""
    message = PredicateScores(language_space=space, score_ms=score_ms)
    message.header.stamp = to_stamp(evaluation.newest_ns)
    message.latency_ms = (now_ns - evaluation.newest_ns) * 1e-6
    message.scores = [
        PredicateScoreMsg(
            name=score.name,
            modalities=list(score.probability),
            similarities=list(score.similarity.values()),
            probabilities=list(score.probability.values()),
            ages_ms=[evaluation.ages_ms[m] for m in score.probability],
            probability=score.fused if score.probability else math.nan,
            calibrated=score.calibrated,
        )
        for score in evaluation.scores
    ]
    return message


def state_message(name: str, tracked: TrackedState) -> PredicateState:
    """One state."""
    return PredicateState(
        name=name,
        state=int(tracked.state),
        probability=tracked.probability,
        since=to_stamp(round(tracked.since_ms * 1e6)),
        reason=tracked.reason,
    )


def states_message(evaluation: Evaluation, *, now_ns: int) -> PredicateStates:
    """All states."""
    message = PredicateStates(
        states=[state_message(name, tracked) for name, tracked in evaluation.states.items()]
    )
    message.header.stamp = to_stamp(now_ns)
    return message


def predicate_message(predicate: Predicate) -> PredicateMsg:
    """A predicate as a message."""
    return PredicateMsg(
        name=predicate.name,
        positive=list(predicate.positive),
        negative=list(predicate.negative),
        modalities=list(predicate.modalities),
        **{name: getattr(predicate, name) for name in NUMBERS},
    )


def predicate_from_message(message: PredicateMsg) -> Predicate:
    """A predicate from a message; empty fields take their defaults.

    Raises:
        encoders.PredicateError: A field is wrong.
    """
    entry: dict[str, object] = {
        name: list(getattr(message, name))
        for name in ('positive', 'negative', 'modalities')
        if getattr(message, name)
    }
    entry |= {name: getattr(message, name) for name in NUMBERS if getattr(message, name)}
    return predicate_from_entry(message.name, entry)
