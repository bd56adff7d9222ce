"""From the newest embeddings to scores and states, without ROS."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoders import (
    Binder,
    Predicate,
    PredicateBank,
    PredicateScore,
    PredicateTracker,
    SpaceError,
    State,
    TrackedState,
)

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest embedding of a modality and when it was sensed."""

    vector: Vector
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores and states at one moment.

    Attributes:
        scores: One per predicate.
        states: By name.
        ages_ms: Of the evidence, by modality.
        newest_ns: Stamp of the newest evidence; 0 without any.
        changed: Names of predicates whose state changed.
    """

    scores: list[PredicateScore]
    states: dict[str, TrackedState]
    ages_ms: dict[str, float]
    newest_ns: int
    changed: tuple[str, ...]


@dataclass
class Scoring:
    """Predicates, their trackers and the newest evidence. Safe to feed from another thread."""

    binder: Binder
    bank: PredicateBank
    _evidence: dict[str, Evidence] = field(default_factory=dict)
    _trackers: dict[str, PredicateTracker] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for predicate in self.bank.predicates:
            self._trackers[predicate.name] = PredicateTracker(predicate)

    def add(self, predicate: Predicate) -> None:
        """Add a predicate, or replace the one of the same name."""
        with self._lock:
            self.bank.add(predicate)
            self._trackers[predicate.name] = PredicateTracker(predicate)

    def remove(self, name: str) -> None:
        """Remove a predicate.

        Raises:
            KeyError: There is none of that name.
        """
        with self._lock:
            self.bank.remove(name)
            self._trackers.pop(name)

    def receive(self, modality: str, vector: Vector, *, stamp_ns: int, space: str) -> None:
        """Take an embedding; an older one than the last of its modality is ignored.

        Raises:
            SpaceError: It belongs to another language space.
        """
        if space != self.binder.space:
            raise SpaceError(
                f'{modality} embedding of language space {space!r} refused: '
                f'the predicates are of {self.binder.space!r}'
            )
        with self._lock:
            last = self._evidence.get(modality)
            if last is None or last.stamp_ns <= stamp_ns:
                self._evidence[modality] = Evidence(vector, stamp_ns)

    def fresh(self, now_ns: int, max_age_ms: float) -> dict[str, Evidence]:
        """Evidence not older than `max_age_ms`, by modality."""
        with self._lock:
            return {
                m: e
                for m, e in self._evidence.items()
                if (now_ns - e.stamp_ns) * 1e-6 <= max_age_ms
            }

    def evaluate(self, now_ns: int) -> Evaluation:
        """Score all predicates and update their states."""
        with self._lock:
            evidence = dict(self._evidence)
            ages_ms = {m: (now_ns - e.stamp_ns) * 1e-6 for m, e in evidence.items()}
            limits = {p.name: p.max_age_ms for p in self.bank.predicates}
            oldest_ms = max(limits.values(), default=0.0)
            usable = {m: e.vector for m, e in evidence.items() if ages_ms[m] <= oldest_ms}
            scores = self.bank.score(usable)
            states, changed = {}, []
            for score in scores:
                before = self._trackers[score.name].current.state
                states[score.name] = self._track(score, ages_ms, limits[score.name], now_ns)
                if states[score.name].state is not before:
                    changed.append(score.name)
        newest_ns = max((e.stamp_ns for e in evidence.values()), default=0)
        return Evaluation(scores, states, ages_ms, newest_ns, tuple(changed))

    def _track(
        self, score: PredicateScore, ages_ms: Mapping[str, float], limit_ms: float, now_ns: int
    ) -> TrackedState:
        tracker, now_ms = self._trackers[score.name], now_ns * 1e-6
        if not score.probability:
            return tracker.update(now_ms, probability=None)
        youngest_ms = min(ages_ms[m] for m in score.probability)
        sensed_ms = now_ms - min(youngest_ms, limit_ms + 1.0)
        return tracker.update(now_ms, probability=score.fused, evidence_ms=sensed_ms)


def state_name(state: State) -> str:
    """`TRUE`, `FALSE` or `UNKNOWN`."""
    return State(state).name
