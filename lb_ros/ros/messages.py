"""Conversion between the records of this package and its messages."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import Predicate, PredicateError, State, TrackedState
from encoders.predicates.file import predicate_from_entry
from encoders.predicates.score_arrays import MESSAGES_MAX, array_fields, score_arrays
from encoders.predicates.scoring import Evaluation
from encoders.predicates.state_arrays import state_fields, unknown_fields
from encoders.predicates.tracks import Tracks
from lb_ros.msg import (
    ModalityCalibration,
    ModalityWeight,
    PredicateScores,
    PredicateState,
    PredicateStates,
)
from lb_ros.msg import Predicate as PredicateMsg
from lb_ros.msg import PredicateScore as PredicateScoreMsg
from lb_ros.ros.stamps import to_stamp

NUMBERS = ('threshold_on', 'threshold_off', 'dwell_ms', 'max_age_ms')
LISTS = ('positive', 'negative', 'templates', 'modalities')


def scores_message(
    evaluation: Evaluation, *, now_ns: int, score_ms: float, messages_max: int = MESSAGES_MAX
) -> PredicateScores:
    """Return the message of all scores of one evaluation.

    Args:
        evaluation: Scores of all predicates.
        now_ns: Time of the evaluation.
        score_ms: Time spent scoring.
        messages_max: Up to so many predicates have one message each; more are sent as arrays.
    """
    message = PredicateScores(language_space=evaluation.space, score_ms=score_ms)
    message.header.stamp = to_stamp(evaluation.newest_ns)
    message.latency_ms = (now_ns - evaluation.newest_ns) * 1e-6
    if len(evaluation.scores) > messages_max:
        _set_fields(message, array_fields(evaluation))
        return message
    message.scores = [
        PredicateScoreMsg(
            name=score.name,
            modalities=list(score.probability),
            similarities=list(score.similarity.values()),
            probabilities=list(score.probability.values()),
            ages_ms=[evaluation.ages_ms[m] for m in score.probability],
            probability=score.fused if score.can_tell else math.nan,
            calibrated=score.calibrated,
            reasons=list(score.reasons),
        )
        for score in score_arrays(evaluation.scores, evaluation.ages_ms)
    ]
    return message


def _set_fields(message: Any, fields: Mapping[str, Sequence[str] | NDArray[Any]]) -> None:
    for name, values in fields.items():
        setattr(message, name, _as_field(values))


def _as_field(values: Sequence[str] | NDArray[Any]) -> Any:
    """Return values as a field of a message, which holds numbers in an `array.array`."""
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype == bool:
        return values.tolist()
    code = {'float32': 'f', 'uint32': 'I', 'uint8': 'B', 'int64': 'q'}[values.dtype.name]
    return array(code, values.tobytes())


def state_message(name: str, tracked: TrackedState) -> PredicateState:
    """Return the message of one state."""
    return PredicateState(
        name=name,
        state=int(tracked.state),
        probability=tracked.probability,
        since=to_stamp(round(tracked.since_ms * 1e6)),
        reason=tracked.reason,
    )


def states_message(
    states: Tracks, *, now_ns: int, messages_max: int = MESSAGES_MAX
) -> PredicateStates:
    """Return the message of all states of one evaluation.

    Args:
        states: States of all predicates.
        now_ns: Time of the evaluation.
        messages_max: Up to so many predicates have one message each; more are sent as arrays.
    """
    message = PredicateStates()
    message.header.stamp = to_stamp(now_ns)
    if len(states) > messages_max:
        _set_fields(message, state_fields(states))
    else:
        message.states = [state_message(name, tracked) for name, tracked in states.items()]
    return message


def unknown_states(names: Sequence[str], reason: str, *, now_ns: int) -> PredicateStates:
    """Return a message in which all states are UNKNOWN for one reason since now."""
    message = PredicateStates()
    message.header.stamp = to_stamp(now_ns)
    if len(names) > MESSAGES_MAX:
        _set_fields(message, unknown_fields(names, reason, now_ns=now_ns))
        return message
    unknown = TrackedState(State.UNKNOWN, 0.5, now_ns * 1e-6, reason)
    message.states = [state_message(name, unknown) for name in names]
    return message


def predicate_message(predicate: Predicate) -> PredicateMsg:
    """Return a predicate as a message."""
    message = PredicateMsg(
        name=predicate.name,
        calibration_space=predicate.calibration_space,
        **{name: list(getattr(predicate, name)) for name in LISTS},
        **{name: float(getattr(predicate, name)) for name in NUMBERS},
    )
    message.weights = [
        ModalityWeight(modality=m, weight=float(w)) for m, w in predicate.weights.items()
    ]
    message.calibration = [
        ModalityCalibration(modality=m, slope=float(line.slope), offset=float(line.offset))
        for m, line in predicate.calibration.items()
    ]
    return message


def predicate_from_message(message: PredicateMsg) -> Predicate:
    """Return the predicate of a message; empty lists take their defaults.

    Raises:
        encoders.PredicateError: A field is invalid.
    """
    entry: dict[str, object] = {
        name: list(getattr(message, name)) for name in LISTS if getattr(message, name)
    }
    entry |= {name: getattr(message, name) for name in NUMBERS}
    if message.weights:
        entry['weights'] = {item.modality: item.weight for item in message.weights}
    if message.calibration:
        entry['calibration'] = {'space': message.calibration_space} | {
            item.modality: {'slope': item.slope, 'offset': item.offset}
            for item in message.calibration
        }
    return predicate_from_entry(message.name, entry)


def predicates_from_messages(
    messages: Sequence[PredicateMsg],
) -> tuple[list[Predicate], dict[str, str]]:
    """Return the predicates of messages, and the reason by name for refused ones."""
    found: dict[str, Predicate] = {}
    refused: dict[str, str] = {}
    for message in messages:
        try:
            predicate = predicate_from_message(message)
        except PredicateError as error:
            refused[message.name] = str(error)
            continue
        if predicate.name in found:
            refused[message.name] = f'two predicates are named {predicate.name!r}'
        found[predicate.name] = predicate
    return list(found.values()), refused
