"""States of many predicates as arrays, and the reader of both forms of `PredicateStates`.

As `score_arrays` does for scores: above `MESSAGES_MAX` predicates the arrays are sent instead of a
message per predicate, and messages are known by their fields only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.tracker import State, TrackedState
from encoders.predicates.tracks import Tracks


def state_fields(tracks: Tracks) -> dict[str, Sequence[str] | NDArray[Any]]:
    """Return the fields of a `PredicateStates` message that hold the states as arrays.

    Returns:
        Texts, or arrays `[P]` of uint8, float32 or int64.
    """
    return {
        'names': list(tracks),
        'values': tracks.states,
        'probabilities': tracks.probabilities,
        'since_ns': np.round(tracks.since_ms * 1e6).astype(np.int64),
        'reasons': tracks.reasons,
    }


def unknown_fields(
    names: Sequence[str], reason: str, *, now_ns: int
) -> dict[str, Sequence[str] | NDArray[Any]]:
    """Return the same fields for states that are UNKNOWN for one reason since now."""
    count = len(names)
    return {
        'names': names,
        'values': np.full(count, State.UNKNOWN, np.uint8),
        'probabilities': np.full(count, 0.5, np.float32),
        'since_ns': np.full(count, now_ns),
        'reasons': [reason] * count,
    }


def states_in(message: Any) -> dict[str, TrackedState]:
    """Return the states of a `PredicateStates` message of either form, by name.

    Args:
        message: A message of ROS or of a bag; it may lack the fields of the arrays, as messages
            that were recorded before there were any.

    Raises:
        ValueError: The lengths of the arrays contradict each other.
    """
    names = getattr(message, 'names', ())
    if len(message.states) or not len(names):
        return {
            entry.name: TrackedState(
                State(entry.state),
                float(entry.probability),
                entry.since.sec * 1e3 + entry.since.nanosec * 1e-6,
                entry.reason,
            )
            for entry in message.states
        }
    columns = (
        map(State, np.asarray(message.values).tolist()),
        np.asarray(message.probabilities, np.float32).tolist(),
        (np.asarray(message.since_ns, np.int64) * 1e-6).tolist(),
        message.reasons,
    )
    try:
        return {name: TrackedState(*values) for name, *values in zip(names, *columns, strict=True)}
    except ValueError as error:
        raise ValueError(f'PredicateStates of {len(names)} names: {error}') from None
