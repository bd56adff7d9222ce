"""Content of the page, kept for some minutes: scores, states, truth, images. Imports no ROS."""

from __future__ import annotations

import bisect
import math
import threading
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import SENSED, Binder, Evidence, Predicate, PredicateBank, SpaceError, State
from encoders.model_sets.evidence import Tokens
from encoders.predicates.fusion import caveats
from encoders.predicates.history import History, Observation
from encoders.predicates.scoring import Scoring
from lb_ros.dashboard.why import Explain, drawn, explainable

KEEP_S = 600.0
FUSED = 'fused'
CHANGES = ('states', 'truth', 'caveats')
# Maximum number of points per line in the first update; more cannot be distinguished on screen.
SNAPSHOT_POINTS = 1500
# Number of earlier times at which a new question is answered, including the newest.
QUESTION_MOMENTS = 800
MAX_QUESTIONS = 20
HISTORY_S = 2.0  # only the newest evidence is used
MODEL_WAIT_S = 15.0  # how long a question waits for a model to load


class QuestionError(ValueError):
    """A question cannot be asked; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Event:
    """New content at one time: probabilities by series and name, or changes by name.

    Attributes:
        sequence: Number of the event.
        time_s: Seconds since the session began.
        series: Probabilities by series (a modality or `fused`), then by name.
        states, truth: New values by name.
        caveats: By name, as from `encoders.predicates.fusion.caveats`.
    """

    sequence: int
    time_s: float
    series: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, bool] = field(default_factory=dict)
    caveats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Names of the predicates and questions of this event."""
        return {*self.states, *self.truth, *self.caveats}.union(*self.series.values())


@dataclass(frozen=True, slots=True)
class Gauge:
    """One status line. `level`: 0 fine, 1 warning, 2 error, 3 silent."""

    name: str
    text: str
    level: int = 0


class Session:
    """All content of the page. Thread-safe.

    Args:
        title: Title of the page.
        live: Whether the source is a running robot.
        keep_s: Time for which content of a robot is kept; content of a recording is kept forever.

    Attributes:
        explain: Finds the attention to a predicate; None if this source cannot.
    """

    def __init__(self, title: str, *, live: bool, keep_s: float = KEEP_S) -> None:
        self.title, self.live, self.keep_s = title, live, keep_s
        self.message = ''
        self.progress: float | None = None  # share of a recording that is encoded
        self.viewed_s = 0.0
        self.explain: Explain | None = None
        self._lock = threading.RLock()
        self._start_ns: int | None = None
        self._sequence = 0
        self._events: deque[Event] = deque()
        # The newest change of each name, and the newest change whose event is no longer kept.
        self._held: dict[str, dict[str, Any]] = {kind: {} for kind in CHANGES}
        self._before: dict[str, dict[str, Any]] = {kind: {} for kind in CHANGES}
        self._scored: set[str] = set()
        self._pictures: dict[str, deque[tuple[float, bytes]]] = {}
        span_s = keep_s if live else math.inf
        self._evidence = History(span_s=span_s)
        self._binder: Binder | None = None
        self._ready = threading.Event()
        self._questions: dict[str, Scoring] = {}
        self._gauges: dict[str, Gauge] = {}
        self.duration_s = 0.0

    def seconds(self, time_ns: int) -> float:
        """Convert a stamp to seconds since the first stamp of the session."""
        with self._lock:
            if self._start_ns is None:
                self._start_ns = time_ns
            return round((time_ns - self._start_ns) * 1e-9, 3)

    def add_scores(
        self,
        time_ns: int,
        scores: Mapping[str, Mapping[str, float | None]],
        *,
        caveats: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Add probabilities at one time and their caveats; see `Event`."""
        with self._lock:
            self._scored.update(scores.get(FUSED, ()))
            self._change(time_ns, 'caveats', values=caveats or {})
            self._push(time_ns, series=scores)

    def add_states(self, time_ns: int, states: Mapping[str, str]) -> None:
        """Add states that hold from a time on."""
        with self._lock:
            self._change(time_ns, 'states', values=states)

    def add_truth(self, time_ns: int, truth: Mapping[str, bool]) -> None:
        """Add ground truth that holds from a time on; only of scored predicates."""
        with self._lock:
            scored = {name: v for name, v in truth.items() if name in self._scored}
            self._change(time_ns, 'truth', values=scored)

    def add_picture(self, time_ns: int, modality: str, jpeg: bytes) -> None:
        """Add the image of a sensor at one time."""
        with self._lock:
            kept = self._pictures.setdefault(modality, deque())
            kept.append((self.seconds(time_ns), jpeg))
            while self.live and kept[-1][0] - kept[0][0] > self.keep_s:
                kept.popleft()

    def add_embedding(
        self,
        time_ns: int,
        modality: str,
        vector: NDArray[np.float32],
        *,
        invalid_reason: str = '',
        tokens: Tokens | None = None,
        readout: str = '',
    ) -> None:
        """Add evidence for present and future questions; see `Scoring.receive`.

        `readout` is the identity of the readout that reduced the tokens; those of another one than
        the model's are ignored.
        """
        with self._lock:
            self.seconds(time_ns)  # evidence may be the first content of the session
            known = {} if self._binder is None else self._binder.readout_ids
            kept = tokens if readout and known.get(modality) == readout else None
            observed = Observation(Evidence(vector, kept, invalid_reason), time_ns)
            self._evidence.add((modality, ''), observed)
            for sentence, scoring in self._questions.items():
                _receive(scoring, modality, observed)
                self._answer(sentence, scoring, time_ns, (modality,))

    def set_gauge(self, gauge: Gauge) -> None:
        """Add or replace a status line."""
        with self._lock:
            self._gauges[gauge.name] = gauge

    def use(self, binder: Binder) -> None:
        """Set the model for questions."""
        binder.embed_text(['the first sentence takes longest'])
        with self._lock:
            # Questions and evidence of another space are not comparable with new evidence.
            if self._binder is not None and self._binder.space != binder.space:
                self._evidence.clear()
                for sentence in tuple(self._questions):
                    self.withdraw(sentence)
            self._binder = binder
        self._ready.set()

    def ask(self, sentence: str) -> None:
        """Add a line for a sentence, from the evidence that is kept and all later evidence.

        Raises:
            QuestionError: No model is loaded yet, or the sentence is not usable.
        """
        sentence = ' '.join(sentence.split())
        if not self._ready.wait(MODEL_WAIT_S):
            raise QuestionError('no embeddings have arrived yet, so no model is known')
        with self._lock:
            binder = self._binder
            assert binder is not None
            if sentence in self._questions:
                return
            if len(self._questions) >= MAX_QUESTIONS:
                raise QuestionError(f'{MAX_QUESTIONS} questions are asked already; remove one')
            evidence = [(sensor[0], each) for sensor, each in self._evidence.everything()]
        try:
            predicate = Predicate.from_sentence(sentence)
            scoring = Scoring(PredicateBank([predicate], binder), history_s=HISTORY_S)
        except (ValueError, SpaceError) as error:
            raise QuestionError(str(error)) from error
        stride = max(1, len(evidence) // QUESTION_MOMENTS)
        with self._lock:
            # At each time that is scored, only the newest evidence of each sensor counts.
            newest: dict[str, Observation] = {}
            for left, (modality, seen) in zip(
                range(len(evidence) - 1, -1, -1), evidence, strict=True
            ):
                newest[modality] = seen
                if left % stride == 0:
                    for each, latest in newest.items():
                        _receive(scoring, each, latest)
                    self._answer(sentence, scoring, seen.stamp_ns, newest)
                    newest.clear()
            self._questions[sentence] = scoring

    @property
    def asks_tokens(self) -> tuple[str, ...]:
        """Modalities whose tokens the present questions need."""
        with self._lock:
            if not self._questions or self._binder is None:
                return ()
            return tuple(self._binder.readouts)

    def withdraw(self, sentence: str) -> None:
        """Remove a sentence and its answers."""
        with self._lock:
            if self._questions.pop(sentence, None) is None:
                return
            self._events = deque(e for e in self._events if e.names != {sentence})
            for changes in (*self._held.values(), *self._before.values()):
                changes.pop(sentence, None)

    def updates(self, since: int) -> dict[str, Any]:
        """Return all content after a sequence number, in the form that the timeline expects.

        Returns:
            `sequence` for the next call, `now` in seconds, `lines`, `gauges`, `message`,
            `progress` of a recording (0..1, None when done), `questions` that are active, `why`:
            modalities whose attention can be shown.
        """
        with self._lock:
            fresh = [e for e in self._events if e.sequence > since]
            if fresh and since + 1 < self._events[0].sequence:  # old changes still hold
                before = {kind: dict(changes) for kind, changes in self._before.items()}
                fresh.insert(0, Event(0, fresh[0].time_s, **before))
            questions = list(self._questions)
            sequence, gauges = self._sequence, list(self._gauges.values())
            explained = [] if self.explain is None else explainable(self._binder)
        return {
            'sequence': sequence,
            'now': self.duration_s,
            'live': self.live,
            'message': self.message,
            'progress': self.progress,
            'questions': questions,
            'lines': list(_lines(_thinned(fresh)).values()),
            'modalities': [m for m in SENSED if m in self._pictures],
            'why': [m for m in SENSED if m in explained and m in self._pictures],
            'gauges': [
                {'name': g.name, 'text': g.text, 'level': g.level} for g in gauges
            ],
        }  # fmt: skip

    def picture(self, modality: str, time_s: float | None) -> tuple[float, bytes] | None:
        """Return the last image at or before a time (None: the newest); None if there is none."""
        with self._lock:
            kept = list(self._pictures.get(modality, ()))
        if not kept:
            return None
        if time_s is None:
            return kept[-1]
        return kept[max(0, bisect.bisect_right(kept, time_s, key=lambda p: p[0]) - 1)]

    def why(self, name: str, modality: str, time_s: float | None) -> tuple[float, bytes]:
        """Return the last image at or before a time with the attention to a predicate.

        Args:
            name: Name of a predicate or question.
            modality: Modality of the image.
            time_s: Seconds since the session began; None for the newest image.

        Raises:
            ValueError: There is no image or no attention; the message gives the reason.
        """
        found = self.picture(modality, time_s)
        if found is None or self._start_ns is None or self.explain is None:
            raise ValueError(f'there is no {modality} image to explain')
        # Times are rounded to milliseconds.
        stamp_ns = self._start_ns + round((found[0] + 5e-4) * 1e9)
        return found[0], drawn(found[1], self.explain(name, modality, stamp_ns))

    def _answer(
        self, sentence: str, scoring: Scoring, time_ns: int, fresh: Collection[str]
    ) -> None:
        evaluation = scoring.evaluate(time_ns)
        score = evaluation.scores[0]
        series = {FUSED: {sentence: score.fused if score.can_tell else None}}
        for modality in fresh:
            if modality in score.probability:
                series[modality] = {sentence: score.probability[modality]}
        found = caveats(score.probability, calibrated=score.calibrated, reasons=score.reasons)
        self._change(time_ns, 'caveats', values={sentence: found})
        self._push(time_ns, series=series)
        state = State(evaluation.states[sentence].state).name
        self._change(time_ns, 'states', values={sentence: state})

    def _change(self, time_ns: int, kind: str, *, values: Mapping[str, Any]) -> None:
        new = {n: value for n, value in values.items() if self._held[kind].get(n) != value}
        self._held[kind].update(new)
        if new:
            self._push(time_ns, **{kind: new})

    def _push(self, time_ns: int, **what: Any) -> None:
        time_s = self.seconds(time_ns)
        self._sequence += 1
        self._events.append(Event(self._sequence, time_s, **what))
        self.duration_s = max(self.duration_s, time_s)
        while self.live and self.duration_s - self._events[0].time_s > self.keep_s:
            gone = self._events.popleft()
            for kind in CHANGES:
                self._before[kind].update(getattr(gone, kind))


def _receive(scoring: Scoring, modality: str, observed: Observation) -> None:
    scoring.receive(
        modality,
        observed.evidence.vector,
        stamp_ns=observed.stamp_ns,
        space=scoring.bank.space,
        invalid_reason=observed.evidence.invalid_reason,
        tokens=observed.evidence.tokens,
    )


def _thinned(events: Sequence[Event]) -> list[Event]:
    """Thin out events to about `SNAPSHOT_POINTS` per series; the newest of each is kept.

    Questions are answered more often than predicates are scored, so each is counted separately.
    """

    def key(event: Event) -> tuple[str, ...]:
        return (*event.series, *islice(event.series.get(FUSED, ()), 1))

    left = Counter(key(event) for event in events if event.series)
    strides = {told: max(1, count // SNAPSHOT_POINTS) for told, count in left.items()}
    kept = []
    for event in events:
        if event.series:
            told = key(event)
            left[told] -= 1
            if left[told] % strides[told]:
                continue
        kept.append(event)
    return kept


def _lines(events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}

    def line(name: str) -> dict[str, Any]:
        return lines.setdefault(name, {'name': name, 'series': {}, **{k: [] for k in CHANGES}})

    for event in events:
        for key, values in event.series.items():
            for name, value in values.items():
                series = line(name)['series'].setdefault(key, {'t': [], 'p': []})
                series['t'].append(event.time_s)
                series['p'].append(None if value is None else round(value, 3))
        for kind in CHANGES:
            for name, word in getattr(event, kind).items():
                line(name)[kind].append((event.time_s, word))
    return lines
