"""The states of many predicates at once, with the rules of `PredicateTracker`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoders.predicates.fusion import Scores
from encoders.predicates.predicate import Predicate
from encoders.predicates.tracker import State, TrackedState, reason_of

UNKNOWN, FALSE, TRUE = int(State.UNKNOWN), int(State.FALSE), int(State.TRUE)
STATES = tuple(State)  # by value: a look-up is faster than a call of the enumeration


@dataclass(frozen=True, slots=True)
class Tracks(Mapping[str, TrackedState]):
    """States of `P` predicates after an evaluation; a `TrackedState` is created on access.

    Immutable: `updated` returns the next states.

    Attributes:
        predicates: The predicates.
        index: Name to position, in order.
        thresholds: On, off and dwell time in milliseconds, float64 `[3, P]`.
        states: `State` values, uint8 `[P]`.
        since_ms: Start of each state, float64 `[P]`.
        candidates: The next `State` during its dwell time, 0 for none, uint8 `[P]`.
        candidate_ms: Start of the dwell time, float64 `[P]`.
        scores: Scores of the last evaluation; None before the first.
    """

    predicates: Sequence[Predicate]
    index: Mapping[str, int]
    thresholds: NDArray[np.float64]
    states: NDArray[np.uint8]
    since_ms: NDArray[np.float64]
    candidates: NDArray[np.uint8]
    candidate_ms: NDArray[np.float64]
    scores: Scores | None = None

    @classmethod
    def start(cls, predicates: Sequence[Predicate], *, keep: Tracks | None = None) -> Tracks:
        """Start with all states UNKNOWN, except predicates with the same definition in `keep`."""
        count = len(predicates)
        new = cls(
            predicates=predicates,
            index={predicate.name: place for place, predicate in enumerate(predicates)},
            thresholds=np.array(
                [(p.threshold_on, p.threshold_off, p.dwell_ms) for p in predicates]
            ).reshape(-1, 3).T,
            states=np.zeros(count, np.uint8),
            since_ms=np.zeros(count),
            candidates=np.zeros(count, np.uint8),
            candidate_ms=np.zeros(count),
        )  # fmt: skip
        if keep is None:
            return new
        pairs = [
            (place, keep.index[p.name])
            for place, p in enumerate(predicates)
            if p.name in keep.index and keep.predicates[keep.index[p.name]] == p
        ]
        here, there = np.array(pairs, int).reshape(-1, 2).T
        for mine, theirs in (
            (new.states, keep.states),
            (new.since_ms, keep.since_ms),
            (new.candidates, keep.candidates),
            (new.candidate_ms, keep.candidate_ms),
        ):
            mine[here] = theirs[there]
        return new

    @property
    def due_ms(self) -> float | None:
        """Time at which the first state will change without new evidence; None if none will."""
        if not self.candidates.any():
            return None
        ends_ms = self.candidate_ms + self.thresholds[2]
        return float(ends_ms.min(where=self.candidates != UNKNOWN, initial=np.inf))

    def updated(self, now_ms: float, scores: Scores) -> tuple[Tracks, tuple[str, ...]]:
        """Return the states after an evaluation, and the names of those that changed.

        An UNKNOWN state also changes when its evidence begins or ceases to be invalid.

        Args:
            now_ms: Current time; must not decrease.
            scores: Scores of these predicates, in this order.
        """
        fused = scores.fused.astype(np.float64)
        on, off, dwell_ms = self.thresholds
        wanted = np.full(len(fused), UNKNOWN, np.uint8)
        wanted[fused <= off] = FALSE
        wanted[fused >= on] = TRUE
        decides = scores.decides()
        wanted[~decides] = UNKNOWN
        moving = (wanted != UNKNOWN) & (wanted != self.states)
        began = moving & (self.candidates != wanted)
        candidate_ms = np.where(began, now_ms, self.candidate_ms)
        turned = moving & (now_ms - candidate_ms >= dwell_ms)
        lost = ~decides & (self.states != UNKNOWN)
        is_unknown = (self.states == UNKNOWN) & ~turned
        explained = is_unknown & _invalid_differs(self.scores, scores)
        changed = np.flatnonzero(turned | lost | explained).tolist()
        following = replace(
            self,
            states=np.where(turned | lost, wanted, self.states),
            since_ms=np.where(turned | lost, now_ms, self.since_ms),
            candidates=np.where(moving & ~turned, wanted, np.uint8(UNKNOWN)),
            candidate_ms=candidate_ms,
            scores=scores,
        )
        return following, tuple(self.predicates[place].name for place in changed)

    def __len__(self) -> int:
        return len(self.predicates)

    def __iter__(self) -> Iterator[str]:
        return iter(self.index)

    def __getitem__(self, name: str) -> TrackedState:
        place, scores = self.index[name], self.scores
        told = scores is not None and bool(scores.can_tell[place])
        return TrackedState(
            state=STATES[self.states[place]],
            probability=float(scores.fused[place]) if scores is not None and told else 0.5,
            since_ms=float(self.since_ms[place]),
            reason=self._reason(place),
        )

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of each predicate at the last evaluation; 0.5 without evidence, `[P]`."""
        if self.scores is None:
            return np.full(len(self), 0.5, np.float32)
        return np.where(self.scores.can_tell, self.scores.fused, np.float32(0.5))

    @property
    def reasons(self) -> list[str]:
        """The reason for each state."""
        if self.scores is None:
            return [self._reason(place) for place in range(len(self))]
        columns = (
            self.states.tolist(),
            self.scores.decides().tolist(),
            self.scores.fused.tolist(),
            self.scores.all_reasons,
        )
        return [_told(STATES[state], *rest) for state, *rest in zip(*columns, strict=True)]

    def _reason(self, place: int) -> str:
        """The reason for the state, from the evidence of its probability."""
        state, scores = STATES[self.states[place]], self.scores
        if scores is None:
            return 'no evidence yet' if state is State.UNKNOWN else 'not evaluated again yet'
        decides, fused = bool(scores.decides(place)), float(scores.fused[place])
        return _told(state, decides, fused, scores.reasons(place))


def _told(state: State, decides: bool, fused: float, limits: Sequence[str]) -> str:
    """The reason for a state, from the limits of its score."""
    note = '; '.join(limits)
    return reason_of(state, fused, note) if decides else note or 'no modality has evidence'


def _invalid_differs(before: Scores | None, now: Scores) -> NDArray[np.bool_]:
    """Whether the reason why evidence does not count has changed, for each predicate `[P]`."""
    readings = {} if before is None else before.readings
    differs = np.zeros(len(now), np.bool_)
    for name, column in now.table.columns.items():
        was, now_is = (
            found[name].invalid if name in found else '' for found in (readings, now.readings)
        )
        if was != now_is:
            differs |= column.asked
    return differs
