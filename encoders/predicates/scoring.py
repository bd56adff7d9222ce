"""Scores and states from the newest embeddings, without ROS."""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.errors import SpaceError
from encoders.model_sets.evidence import Evidence, Tokens, Vector
from encoders.predicates.bank import PredicateBank
from encoders.predicates.fusion import Scores
from encoders.predicates.history import (
    DEFAULT_TOKENS_BYTES,
    Found,
    History,
    Observation,
    Read,
    Sensor,
)
from encoders.predicates.readout import check_tokens
from encoders.predicates.tracks import Tracks
from encoders.regions import modality_of


@dataclass(frozen=True, slots=True)
class Moment:
    """The evidence of all sensors at one time.

    Attributes:
        evidence: By modality, the evidence of each sensor.
        ages_ms: By modality, the age of each evidence at that time.
        newest_ns: By modality, the stamp of the newest evidence.
    """

    evidence: dict[str, list[Evidence]]
    ages_ms: dict[str, list[float]]
    newest_ns: dict[str, int]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores and states at one time.

    Attributes:
        space: Language space.
        scores: One per predicate, created on access.
        states: By name, created on access.
        ages_ms: By modality, the age of the newest evidence.
        newest_ns: Stamp of the newest evidence; 0 without evidence.
        changed: Names of predicates whose state changed.
        due_ns: Time at which a state may change without new evidence; None if none will.
    """

    space: str
    scores: Scores
    states: Tracks
    ages_ms: dict[str, float]
    newest_ns: int
    changed: tuple[str, ...]
    due_ns: int | None


class Scoring:
    """Predicates, their states and the recent evidence, all of one language space.

    `receive` may be called from another thread.

    Args:
        bank: The predicates. It must not be changed afterwards, but can be replaced.
        history_s: Time for which evidence is kept for queries about the past.
        tokens_bytes: Largest size of the tokens of past evidence; older evidence is read from its
            vector.
    """

    def __init__(
        self,
        bank: PredicateBank,
        *,
        history_s: float = 30.0,
        tokens_bytes: int = DEFAULT_TOKENS_BYTES,
    ) -> None:
        self.bank = bank
        self._history = History(span_s=history_s, tokens_bytes=tokens_bytes)
        self._states = Tracks.start(bank.predicates)
        # By sensor: what was read from its newest evidence, for later evaluations.
        self._seen: dict[Sensor, tuple[Evidence, PredicateBank, Read]] = {}
        self._lock = threading.Condition()

    @property
    def states(self) -> Tracks:
        """The states of the last evaluation; their `scores` are None before the first."""
        with self._lock:
            return self._states

    @property
    def history_s(self) -> float:
        """Time for which evidence is kept for queries about the past, seconds."""
        return self._history.span_s

    def keep(self, *, history_s: float, tokens_bytes: int) -> None:
        """Change how much evidence is kept, see the arguments of the class."""
        with self._lock:
            self._history.span_s, self._history.tokens_bytes = history_s, tokens_bytes

    def replace(self, bank: PredicateBank) -> None:
        """Replace the predicates; unchanged ones keep their states.

        Raises:
            SpaceError: The bank has another language space.
        """
        if bank.space != self.bank.space:
            raise SpaceError(f'predicates of {bank.space!r} for evidence of {self.bank.space!r}')
        with self._lock:
            self.bank = bank
            self._states = Tracks.start(bank.predicates, keep=self._states)

    def reset(self) -> None:
        """Delete all evidence and states, after a jump in time."""
        with self._lock:
            self._history.clear()
            self._states = Tracks.start(self.bank.predicates)
            self._seen.clear()

    def receive(
        self,
        modality: str,
        vector: Vector,
        *,
        stamp_ns: int,
        space: str,
        source: str = '',
        invalid_reason: str = '',
        tokens: Tokens | None = None,
        statistics: Vector | None = None,
        read: Read | None = None,
    ) -> None:
        """Add an embedding; one slightly older than the last of its sensor is ignored.

        Args:
            modality: Modality of the sensor, or a part of its view (`depth@gripper`).
            vector: Unit vector `[D]`.
            stamp_ns: Stamp of the sensor data.
            space: Language space of the vector.
            source: Identifies a sensor if a modality has several.
            invalid_reason: Why it does not count, as in `encoders.Objection.reason`; empty if it
                counts.
            tokens: Reduced tokens of the same sample, as of `Binder.encode_evidence`; None to read
                the vector only.
            statistics: Of the window of a series, see `Evidence`.
            read: Result of `PredicateBank.read` of this bank, if it is known; then no tokens are
                needed.

        Raises:
            SpaceError: The vector has another language space.
            TokensError: The tokens are not those of the set's readout.
        """
        if space != self.bank.space:
            raise SpaceError(
                f'{modality} embedding of language space {space!r} refused: '
                f'the predicates are of {self.bank.space!r}'
            )
        readout = self.bank.binder.readouts.get(modality_of(modality))
        if tokens is not None and readout is not None:
            check_tokens(readout, modality, tokens)
        kept = tokens if readout is not None else None
        evidence = Evidence(vector, kept, invalid_reason, statistics)
        with self._lock:
            known = None if read is None else (self.bank, read)
            self._history.add((modality, source), Observation(evidence, stamp_ns, known))
            self._lock.notify_all()

    def await_evidence(
        self,
        modalities: Sequence[str],
        *,
        since_ns: int,
        timeout_s: float,
        tokens: Container[str] = (),
    ) -> None:
        """Wait until each modality has evidence since `since_ns`, at most `timeout_s`.

        The evidence of the modalities in `tokens` must have tokens.
        """

        def has_all() -> bool:
            fresh = {
                name
                for (name, _), each in self._history.newest()
                if each.stamp_ns >= since_ns
                and (each.evidence.tokens is not None or modality_of(name) not in tokens)
            }
            return fresh.issuperset(modalities)

        with self._lock:
            self._lock.wait_for(has_all, timeout_s)

    def at(self, at_ns: int, *, max_age_ms: float) -> Moment:
        """The newest evidence of every sensor at a time, if it was not older than `max_age_ms`."""
        return _moment(self.observed(at_ns, max_age_ms=max_age_ms), at_ns)

    def observed(self, at_ns: int, *, max_age_ms: float) -> Found:
        """As `at`, by modality and source of the sensors."""
        with self._lock:
            return self._history.at(at_ns, max_age_ms=max_age_ms)

    def evaluate(self, now_ns: int) -> Evaluation:
        """Score all predicates and update their states."""
        with self._lock:
            newest = self._history.newest()
            bank, before = self.bank, self._states
        ages_ms, newest_ns = _ages(newest, now_ns)
        read: dict[str, list[Read]] = {}
        for key, observation in newest:
            if key[0] in bank.table.columns:
                read.setdefault(key[0], []).append(self._read(bank, key, observation))
        scores = bank.weigh(
            {
                modality: np.stack([values for values, _ in rows])
                for modality, rows in read.items()
            },
            ages_ms=ages_ms,
            invalid=_invalid(newest),
            from_tokens={
                m: np.stack([written for _, written in rows]) for m, rows in read.items()
            },
        )
        states, changed = before.updated(now_ns * 1e-6, scores)
        with self._lock:
            if self._states is before:  # neither reset nor replaced in the meantime
                self._states = states
        return Evaluation(
            space=bank.space,
            scores=scores,
            states=states,
            ages_ms={m: min(ages) for m, ages in ages_ms.items()},
            newest_ns=max(newest_ns.values(), default=0),
            changed=changed,
            due_ns=_due_ns(bank, states, ages_ms, now_ns),
        )

    def _read(self, bank: PredicateBank, key: Sensor, observation: Observation) -> Read:
        """The result of `PredicateBank.read`, computed once per evidence."""
        if observation.known is not None and observation.known[0] is bank:
            return observation.known[1]
        evidence = observation.evidence
        seen = self._seen.get(key)
        if seen is None or seen[0] is not evidence or seen[1] is not bank:
            seen = (evidence, bank, bank.read(key[0], evidence))
            self._seen[key] = seen
        return seen[2]


def _ages(found: Found, at_ns: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """By modality: ages of the evidence of its sensors, and the newest stamp."""
    ages_ms: dict[str, list[float]] = {}
    newest_ns: dict[str, int] = {}
    for (modality, _), observation in found:
        ages_ms.setdefault(modality, []).append((at_ns - observation.stamp_ns) * 1e-6)
        newest_ns[modality] = max(newest_ns.get(modality, 0), observation.stamp_ns)
    return ages_ms, newest_ns


def _invalid(found: Found) -> dict[str, list[str]]:
    """By modality: reasons why the evidence of its sensors does not count."""
    invalid: dict[str, list[str]] = {}
    for (modality, _), observation in found:
        invalid.setdefault(modality, []).append(observation.evidence.invalid_reason)
    return invalid


def _moment(found: Found, at_ns: int) -> Moment:
    evidence: dict[str, list[Evidence]] = {}
    for (modality, _), observation in found:
        evidence.setdefault(modality, []).append(observation.evidence)
    return Moment(evidence, *_ages(found, at_ns))


def _due_ns(
    bank: PredicateBank, states: Tracks, ages_ms: Mapping[str, Sequence[float]], now_ns: int
) -> int | None:
    """The next time at which a dwell time ends or evidence becomes too old."""
    now_ms = now_ns * 1e-6
    due_ms = states.due_ms
    moments = [] if due_ms is None else [due_ms]
    for limit_ms in bank.table.limits_ms.tolist():
        for ages in ages_ms.values():
            moments += [now_ms - age + limit_ms for age in ages if age <= limit_ms]
    # A microsecond later: milliseconds since the epoch are exact to a quarter of one only.
    return round(min(moments) * 1e6) + 1000 if moments else None
