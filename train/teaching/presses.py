"""Presses from the labelled stretches of bags."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from encoders import Evidence, PredicateBank
from encoders.predicates.lessons import Frame, Lesson, Press, press_of
from train.bags.labels import name_of, sensor_start_ns
from train.bags.reader import BagReport
from train.score.embed import BagSource
from train.score.windows import Window
from train.teaching.labels import Labels, Stretch

# Moments that are averaged for one press.
FRAMES = 4
# Evidence of a moment is at most this old, as of a predicate by default.
MAX_AGE_NS = 1_000_000_000

Newest = Mapping[str, Window]


@dataclass(frozen=True, slots=True)
class Made:
    """What was taught from some bags.

    Attributes:
        lessons: By predicate, with new presses.
        presses: Number of new presses.
        problems: One line per problem.
    """

    lessons: list[Lesson]
    presses: int
    problems: list[str]


@dataclass
class _Stretch:
    """A stretch with the frames that were read of it."""

    stretch: Stretch
    frames: list[Frame] = field(default_factory=list)


def teach_from_bags(
    bank: PredicateBank,
    sources: Sequence[BagSource],
    labels: Labels,
    *,
    progress: Callable[[Path], object] = lambda bag: None,
) -> Made:
    """Make one press of every labelled stretch; the bank itself does not change.

    Args:
        bank: The predicates and what they were taught so far.
        sources: The bags.
        labels: Their labels. A press of the same bag, time and predicate replaces the old one.
        progress: Called after each bag.

    Raises:
        PredicateError: A predicate would have too many presses.
    """
    made: dict[str, list[Press]] = {}
    problems: list[str] = []
    for source in sources:
        report = BagReport(source.path)
        stretches = [_Stretch(each) for each in labels.of(source.path, bank.predicates)]
        if not stretches:
            problems.append(f'{source.path}: no labels of these predicates; the bag is skipped')
        else:
            _read(bank, source, stretches, report)
        problems += report.problems
        for each in stretches:
            stretch = each.stretch
            if not any(frame.vectors for frame in each.frames):
                problems.append(
                    f'{source.path}: no evidence for {stretch.name!r} at '
                    f'{stretch.start_ns * 1e-9:.1f} s; the label is skipped'
                )
                continue
            press = press_of(
                each.frames,
                truth=stretch.truth,
                stamp_ns=stretch.end_ns,
                source=name_of(source.path),
            )
            key = f'{press.source} {stretch.start_ns} {stretch.end_ns}'
            made.setdefault(stretch.name, []).append(replace(press, key=key))
        progress(source.path)
    lessons = [_lesson(bank, name, presses) for name, presses in made.items()]
    return Made(lessons, sum(map(len, made.values())), problems)


def _lesson(bank: PredicateBank, name: str, presses: Sequence[Press]) -> Lesson:
    predicate = bank.predicates[bank.table.names.index(name)]
    lesson = bank.lessons.by_name.get(name, Lesson(predicate))
    if not lesson.fits(predicate):
        lesson = Lesson(predicate)  # its presses were of other sentences
    again = {press.key for press in presses} & {press.key for press in lesson.presses}
    return lesson.without(again).adding(*presses)


def _read(
    bank: PredicateBank, source: BagSource, stretches: Sequence[_Stretch], report: BagReport
) -> None:
    """Fill in the frames of the stretches of a bag, in one pass over it."""
    newest: dict[str, Window] = {}
    known: dict[int, Evidence | None] = {}
    waiting: deque[tuple[int, _Stretch]] | None = None

    def take(until_ns: int) -> None:
        while waiting and waiting[0][0] < until_ns:
            time_ns, each = waiting.popleft()
            evidence = _evidence(bank, newest, time_ns, known, report)
            each.frames.append(bank.frame(each.stretch.name, evidence))

    for window in source.windows(report):
        if waiting is None:
            first_ns = sensor_start_ns(source.path, source.topics.named) or window.stamp_ns
            moments = [(t, each) for each in stretches for t in _times(each.stretch, first_ns)]
            waiting = deque(sorted(moments, key=lambda moment: moment[0]))
        take(window.stamp_ns)
        newest[window.topic] = window
        if not waiting:
            return
    take(1 << 62)


def _times(stretch: Stretch, first_ns: int) -> list[int]:
    """Up to `FRAMES` times of a stretch, evenly spaced, away from its ends."""
    origin_ns = first_ns if stretch.is_relative else 0
    length_ns = stretch.end_ns - stretch.start_ns
    count = max(1, min(FRAMES, length_ns // 100_000_000))
    return [
        origin_ns + stretch.start_ns + round(length_ns * (number + 0.5) / count)
        for number in range(count)
    ]


def _evidence(
    bank: PredicateBank,
    newest: Newest,
    time_ns: int,
    known: dict[int, Evidence | None],
    report: BagReport,
) -> dict[str, list[Evidence]]:
    """Evidence of the newest windows, by modality; each window is encoded once."""
    found: dict[str, list[Evidence]] = {}
    current = {window.index for window in newest.values()}
    for index in known.keys() - current:
        del known[index]
    for window in newest.values():
        if time_ns - window.stamp_ns > MAX_AGE_NS:
            continue
        if window.index not in known:
            known[window.index] = _observed(bank, window, report)
        evidence = known[window.index]
        if evidence is not None:
            found.setdefault(window.modality, []).append(evidence)
    return found


def _observed(bank: PredicateBank, window: Window, report: BagReport) -> Evidence | None:
    try:
        seen = bank.binder.observe(**{window.modality: window.raw()})[window.modality]
    except ValueError as error:
        report.skipped(window.topic, str(error))
        return None
    assert isinstance(seen, Evidence)
    return replace(seen, vector=np.asarray(seen.vector, np.float32))
