"""What the page shows after a press, and who learns from it: a robot or a learner over a bag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from encoders import Binder, Evidence, ModelSetError, Predicate, PredicateBank, SpaceError
from encoders.predicates.lessons import Lesson, Lessons, press_of
from encoders.predicates.suggestion import least_certain, missing_side
from encoders.predicates.taught_file import load_lessons, replace_lessons
from lb_ros.dashboard.answers import FUSED, Answer

if TYPE_CHECKING:
    from lb_ros.dashboard.session import Session

ERRORS = (ModelSetError, SpaceError, ValueError, KeyError, OSError)
FRAMES = 8  # of a stretch
# A moment this close to a press is not suggested again.
APART_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Learned:
    """What a predicate knows after a press, or after an undone one.

    Attributes:
        name: Name of the predicate.
        true_presses, false_presses: Presses per side.
        left_out: Balanced accuracy with each press left out in turn, with the ends `low` and
            `high` of its 95 % interval; None with fewer than two presses of a side.
        sensors: Sensors that count with their shares, the most important first.
        next: What to press next, in words; may be empty.
        next_ns: The moment that `next` names; 0 for none.
    """

    name: str
    true_presses: int
    false_presses: int
    left_out: float | None = None
    low: float | None = None
    high: float | None = None
    sensors: Sequence[tuple[str, float]] = ()
    next: str = ''
    next_ns: int = 0


class Teacher(Protocol):
    """Learns from presses."""

    def teach(
        self,
        name: str,
        truth: bool,
        *,
        stamp_ns: int | None,
        ago_s: float = 0.0,
        seconds: float = 0.0,
    ) -> Learned:
        """Learn that a predicate or question is true or false at a time, or before it.

        Args:
            name: Name of a predicate, or a sentence.
            truth: What was pressed.
            stamp_ns: The time; None for now.
            ago_s: Seconds before now; used only if `stamp_ns` is None.
            seconds: Length of the stretch that ends then and is one press.

        Raises:
            ValueError: The press cannot be used; the message gives the reason.
        """
        ...

    def untaught(self, name: str) -> Learned:
        """Undo the last press of a predicate.

        Raises:
            ValueError: There is none.
        """
        ...


class EvidenceAt(Protocol):
    """Evidence of the past."""

    def at(self, time_ns: int) -> dict[str, list[Evidence]]:
        """The newest evidence of every sensor at a time, by modality."""
        ...


class BagTeacher:
    """Learns from presses over a bag; implements `Teacher`.

    Args:
        session: Session of the bag, whose past is answered again after every change.
        binder: The model set.
        predicates: Predicates that may be named.
        evidence: Evidence of the bag.
        path: File that keeps what was taught.
        source: Name of the bag, which presses keep.
    """

    def __init__(
        self,
        session: Session,
        binder: Binder,
        predicates: Sequence[Predicate],
        evidence: EvidenceAt,
        *,
        path: Path,
        source: str,
    ) -> None:
        self._session, self._binder, self._evidence = session, binder, evidence
        self._predicates = {predicate.name: predicate for predicate in predicates}
        self._path, self._source = path, source

    def teach(
        self,
        name: str,
        truth: bool,
        *,
        stamp_ns: int | None,
        ago_s: float = 0.0,
        seconds: float = 0.0,
    ) -> Learned:
        """See `Teacher`."""
        if stamp_ns is None:
            raise ValueError('a recording has no present: choose a moment first')
        bank, lesson = self._known(name)
        length_ns = round(seconds * 1e9)
        count = FRAMES if length_ns else 1
        times_ns = [stamp_ns - round(length_ns * n / max(1, count - 1)) for n in range(count)]
        frames = [bank.frame(name, self._evidence.at(time_ns)) for time_ns in times_ns]
        press = press_of(frames, truth=truth, stamp_ns=stamp_ns, source=self._source)
        return self._learn(bank, lesson.adding(press))

    def untaught(self, name: str) -> Learned:
        """See `Teacher`."""
        bank, lesson = self._known(name)
        if not lesson.presses:
            raise ValueError(f'predicate {name!r} has no presses')
        return self._learn(bank, lesson.without([lesson.presses[-1].key]))

    def _known(self, name: str) -> tuple[PredicateBank, Lesson]:
        """A bank with a predicate, and what it was taught so far, also by other programs."""
        predicate = self._predicates.get(name) or Predicate.from_sentence(name, name=name)
        lessons = usable(self._path, self._binder)
        known = lessons.by_name.get(name)
        lesson = known if known and known.fits(predicate) else Lesson(predicate)
        return PredicateBank([predicate], self._binder, lessons=lessons), lesson

    def _learn(self, bank: PredicateBank, lesson: Lesson) -> Learned:
        bank.teach(lesson)
        moved = replace_lessons(self._path, bank.lessons)
        if moved is not None:
            self._session.message = f'{self._path} was of another model set; now {moved.name}'
        answers = self._session.answer_again(lesson.predicate, bank.lessons)
        pressed = [p.stamp_ns for p in lesson.presses if p.source == self._source]
        return described(bank, lesson.predicate.name, answers, pressed)


def usable(path: Path, binder: Binder) -> Lessons:
    """What a file says was taught to a model set; nothing if there is none, or of another set."""
    try:
        lessons = load_lessons(path)
        if lessons is not None:
            lessons.check(binder, where=str(path))
    except (ModelSetError, SpaceError):  # `replace_lessons` keeps that file
        lessons = None
    return Lessons.of(binder) if lessons is None else lessons


def described(
    bank: PredicateBank, name: str, answers: Iterable[Answer], pressed_ns: Sequence[int]
) -> Learned:
    """What a predicate of a bank knows, and the least certain of some answers."""
    taught = bank.taught.get(name)
    yes, no = (0, 0) if taught is None else taught.lesson.counts
    found = None if taught is None or taught.head is None else taught.head.estimate
    words, next_ns = missing_side(yes, no), 0
    if not words:
        unsure = least_certain(
            (answer.time_ns, probability)
            for answer in answers
            if (probability := answer.series[FUSED]) is not None
            and all(abs(answer.time_ns - stamp_ns) > APART_NS for stamp_ns in pressed_ns)
        )
        if unsure is not None:
            next_ns, words = unsure[0], f'least certain ({unsure[1]:.2f})'
    return Learned(
        name,
        yes,
        no,
        left_out=None if found is None else found.accuracy,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        sensors=() if taught is None else tuple(taught.sensors.items()),
        next=words,
        next_ns=next_ns,
    )
