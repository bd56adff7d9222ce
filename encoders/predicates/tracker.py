"""Probabilities over time to a state: TRUE, FALSE or UNKNOWN."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from encoders.predicates.predicate import Predicate


class State(IntEnum):
    """State of a predicate; the numbers are those of lb_ros/msg/PredicateState."""

    UNKNOWN = 0
    FALSE = 1
    TRUE = 2


@dataclass(frozen=True, slots=True)
class TrackedState:
    """A state with its reason.

    Attributes:
        state: TRUE, FALSE or UNKNOWN.
        probability: The last probability with evidence; 0.5 if there is none.
        since_ms: Start of the state.
        reason: Reason in a few words.
    """

    state: State
    probability: float
    since_ms: float
    reason: str


def reason_of(state: State, probability: float, note: str) -> str:
    """The reason for the state of a predicate with evidence, from its current probability."""
    told = 'not clear enough yet' if state is State.UNKNOWN else f'probability {probability:.2f}'
    return told + (f' ({note})' if note else '')


class PredicateTracker:
    """Hysteresis, dwell time and age limit of one predicate.

    A state changes when the probability has stayed past a threshold for `dwell_ms`. Between the
    thresholds the state is kept. Evidence older than `max_age_ms` makes it UNKNOWN at once.
    """

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate
        self._candidate: tuple[State, float] | None = None
        self.current = TrackedState(State.UNKNOWN, 0.5, 0.0, 'no evidence yet')

    @property
    def due_ms(self) -> float | None:
        """Time at which the state will change without new evidence; None if it will not."""
        return None if self._candidate is None else self._candidate[1] + self._predicate.dwell_ms

    def update(
        self,
        now_ms: float,
        *,
        probability: float | None,
        evidence_ms: float | None = None,
        note: str = '',
    ) -> TrackedState:
        """Update the state with the newest evidence.

        Args:
            now_ms: Current time; must not decrease.
            probability: Fused probability; None if no modality is informative.
            evidence_ms: Stamp of the newest evidence; None for the current time.
            note: Limits of the evidence, for the reason of the state.

        Returns:
            The state after this evidence.
        """
        sensed_ms = now_ms if evidence_ms is None else evidence_ms
        if probability is None:
            self._candidate = None
            reason = note or 'no modality has evidence'
            return self._become(State.UNKNOWN, 0.5, now_ms, reason)
        age_ms = now_ms - sensed_ms
        if age_ms > self._predicate.max_age_ms:
            self._candidate = None
            reason = f'evidence is {age_ms:.0f} ms old'
            return self._become(State.UNKNOWN, probability, now_ms, reason)
        wanted = self._wanted(probability)
        if wanted is None or wanted is self.current.state:
            self._candidate = None
            reason = reason_of(self.current.state, probability, note)
            return self._become(self.current.state, probability, now_ms, reason)
        if self._candidate is None or self._candidate[0] is not wanted:
            self._candidate = (wanted, now_ms)
        if now_ms - self._candidate[1] >= self._predicate.dwell_ms:
            return self._become(wanted, probability, now_ms, reason_of(wanted, probability, note))
        reason = reason_of(self.current.state, probability, note)
        return self._become(self.current.state, probability, now_ms, reason)

    def _wanted(self, probability: float) -> State | None:
        if probability >= self._predicate.threshold_on:
            return State.TRUE
        if probability <= self._predicate.threshold_off:
            return State.FALSE
        return None

    def _become(
        self, state: State, probability: float, now_ms: float, reason: str
    ) -> TrackedState:
        changed = state is not self.current.state
        if changed:
            self._candidate = None
        since_ms = now_ms if changed else self.current.since_ms
        self.current = TrackedState(state, probability, since_ms, reason)
        return self.current
