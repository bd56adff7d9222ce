"""Content of the page, kept for some minutes: scores, states, truth, images. Imports no ROS."""

from __future__ import annotations

import bisect
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import SENSED, Binder, Evidence, ModelSetError, Predicate, SpaceError
from encoders.model_sets.evidence import Tokens
from encoders.predicates.history import History, Observation
from encoders.predicates.lessons import Lessons
from encoders.preprocess import is_series
from lb_ros.dashboard.answers import FUSED, Answer, Answering, Moment, moments_of
from lb_ros.dashboard.events import ANSWERED, CHANGES, Event, lines_of, thinned, valid
from lb_ros.dashboard.teaching import Learned, Teacher
from lb_ros.dashboard.why import Explain, drawn, explainable

if TYPE_CHECKING:
    from train.teaching.label_file import LabelFile

KEEP_S = 600.0
MAX_QUESTIONS = 20
MODEL_WAIT_S = 15.0  # how long a question waits for a model to load


class QuestionError(ValueError):
    """A question cannot be asked; the message gives the reason."""


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
        teacher: Learns from presses; None if this source cannot be taught.
        past: Returns the moments of a recording at which questions are answered; None to use the
            evidence that was added.
        labels: Labels of a recording that is being labelled; None for all other sources.
    """

    def __init__(self, title: str, *, live: bool, keep_s: float = KEEP_S) -> None:
        self.title, self.live, self.keep_s = title, live, keep_s
        self.message = ''
        self.progress: float | None = None  # share of a recording that is encoded
        self.viewed_s = 0.0
        self.explain: Explain | None = None
        self.teacher: Teacher | None = None
        self.past: Callable[[], list[Moment]] | None = None
        self.labels: LabelFile | None = None
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
        self._questions: dict[str, Answering] = {}
        # Names that are taught here, and since which event their past is answered anew.
        self._taught: dict[str, None] = {}
        self._replaced: dict[str, int] = {}
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
        taught: Mapping[str, str] | None = None,
    ) -> None:
        """Add probabilities at one time and what is to be known about them; see `Event`."""
        with self._lock:
            self._scored.update(scores.get(FUSED, ()))
            self._change(time_ns, 'caveats', values=caveats or {})
            self._change(time_ns, 'taught', values=taught or {})
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
            for sentence, answering in self._questions.items():
                self._add(sentence, answering.at(time_ns, {modality: observed}))

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
            if sentence in self._questions:
                return
            if len(self._questions) >= MAX_QUESTIONS:
                raise QuestionError(f'{MAX_QUESTIONS} questions are asked already; remove one')
        try:
            predicate = Predicate.from_sentence(sentence, name=sentence)
        except ValueError as error:
            raise QuestionError(str(error)) from error
        self.answer_again(predicate, None, keeps=True)

    def answer_again(
        self, predicate: Predicate, lessons: Lessons | None, *, keeps: bool = False
    ) -> list[Answer]:
        """Answer a predicate about the past; the answers replace those that were given before.

        Args:
            predicate: The predicate.
            lessons: What it was taught.
            keeps: Answer it from later evidence as well, as a question.

        Raises:
            QuestionError: The predicate cannot be answered.
        """
        name = predicate.name
        with self._lock:
            binder, keeps = self._binder, keeps or name in self._questions
        if binder is None:
            raise QuestionError('no model is known yet')
        try:
            answering = Answering(predicate, binder, lessons=lessons)
        except (ValueError, SpaceError, ModelSetError) as error:
            raise QuestionError(str(error)) from error
        moments = self._past()
        answers = [answering.at(*moment) for moment in moments]
        with self._lock:
            if self.past is None and self._binder is binder:  # what has arrived meanwhile
                newest_ns = moments[-1][0] if moments else 0
                later = [e for e in self._evidence.everything() if e[1].stamp_ns > newest_ns]
                answers += [answering.at(*moment) for moment in moments_of(later)]
            self._forget(name)
            self._replaced[name] = self._sequence + 1
            for answer in answers:
                self._add(name, answer)
            if keeps:
                self._questions[name] = answering
        return answers

    def _past(self) -> list[Moment]:
        if self.past is not None:
            return self.past()
        with self._lock:
            evidence = self._evidence.everything()
        return moments_of(evidence)

    @property
    def asks_tokens(self) -> tuple[str, ...]:
        """Modalities whose tokens the present questions and taught predicates need."""
        with self._lock:
            if self._binder is None or not (self._questions or self._taught):
                return ()
            return tuple(self._binder.readouts)

    def window_s(self, modality: str) -> float:
        """The length of the windows that the encoder of a series takes; 0 if it is not known."""
        binder = self._binder
        config = None if binder is None else binder.preprocessing.get(modality)
        return config.window_s if config is not None and is_series(config) else 0.0

    @property
    def questions(self) -> tuple[str, ...]:
        """The sentences that are asked."""
        with self._lock:
            return tuple(self._questions)

    def remove(self, sentence: str) -> None:
        """Remove a sentence as `withdraw`, unless it has labels, which would be out of sight.

        Raises:
            QuestionError: It has labels.
        """
        if self.labels is not None and self.labels.shown().get(sentence):
            raise QuestionError(f'{sentence}: kept, it has labels; remove them first (x)')
        self.withdraw(sentence)

    def withdraw(self, sentence: str) -> None:
        """Remove a sentence and its answers."""
        with self._lock:
            if self._questions.pop(sentence, None) is None:
                return
            self._events = deque(e for e in self._events if e.names != {sentence})
            self._forget(sentence)

    def leave(self, sentence: str) -> None:
        """Stop answering a question that is a predicate of the robot from now on.

        At once it is one of those that are taught, so that its line stays.
        """
        with self._lock:
            self._taught[sentence] = None
            self._questions.pop(sentence, None)

    def teach(
        self, name: str, truth: bool, *, time_s: float | None, seconds: float, ago_s: float = 0.0
    ) -> Learned:
        """See `Teacher.teach`; `time_s` are seconds since the session began, None for now.

        Raises:
            ValueError: The press cannot be used; the message gives the reason.
        """
        if self.teacher is None or self._start_ns is None:
            raise ValueError('nothing can be taught here')
        stamp_ns = None if time_s is None else self._start_ns + round(time_s * 1e9)
        told = self.teacher.teach(name, truth, stamp_ns=stamp_ns, ago_s=ago_s, seconds=seconds)
        self._taught[name] = None
        return told

    def untaught(self, name: str) -> Learned:
        """See `Teacher.untaught`."""
        if self.teacher is None:
            raise ValueError('nothing can be taught here')
        told = self.teacher.untaught(name)
        self._taught[name] = None
        return told

    def updates(self, since: int) -> dict[str, Any]:
        """Return all content after a sequence number, in the form that the timeline expects.

        Returns:
            `sequence` for the next call, `now` in seconds, `lines`, `gauges`, `message`,
            `progress` of a recording (0..1, None when done), `questions` that are active, names
            that are `taught` here, `teaches`: whether something can be taught, `labels` as
            from `LabelFile.shown`, `why`: modalities whose attention can be shown.
        """
        with self._lock:
            fresh = [e for e in self._events if e.sequence > since]
            if fresh and since + 1 < self._events[0].sequence:  # old changes still hold
                before = {kind: dict(changes) for kind, changes in self._before.items()}
                fresh.insert(0, Event(self._sequence, fresh[0].time_s, **before))
            replaced = dict(self._replaced)
            questions, taught = list(self._questions), list(self._taught)
            sequence, gauges = self._sequence, list(self._gauges.values())
            explained = [] if self.explain is None else explainable(self._binder)
        return {
            'sequence': sequence,
            'now': self.duration_s,
            'live': self.live,
            'message': self.message,
            'progress': self.progress,
            'questions': questions,
            'taught': taught,
            'teaches': self.teacher is not None,
            'labels': None if self.labels is None else self.labels.shown(),
            'lines': list(lines_of(thinned(fresh), replaced, since).values()),
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

    def _add(self, name: str, answer: Answer) -> None:
        self._change(answer.time_ns, 'caveats', values={name: answer.caveats})
        self._change(answer.time_ns, 'taught', values={name: answer.taught})
        series = {key: {name: value} for key, value in answer.series.items()}
        self._push(answer.time_ns, series=series)
        self._change(answer.time_ns, 'states', values={name: answer.state})

    def _forget(self, name: str) -> None:
        """Forget which answers about a name hold."""
        for kind in ANSWERED:
            self._held[kind].pop(name, None)
            self._before[kind].pop(name, None)

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
                self._before[kind].update(valid(gone, kind, self._replaced))
