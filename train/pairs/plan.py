"""The first pass over a bag: find the time windows that sentences can describe."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from train.bags.clocks import DAY_NS
from train.bags.folder import topics_to_read
from train.bags.labelled import Labelled, LabelSet
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.truth import facts_of
from train.pairs.options import WINDOWS_AT_TEXTS, PairOptions, PairsReport
from train.pairs.record import Text
from train.pairs.sidecar import SidecarRow
from train.phrasings import Phrasings

# A stamp has jumped if it goes back by this, or moves by so much more or less than recording time.
MAX_BACK_NS = 1_000_000_000
MAX_STEP_NS = 5_000_000_000
# Stamps further than this from their recording time belong to another clock, e.g. a simulator's.
OTHER_CLOCK_NS = 60_000_000_000
MAX_SPAN_NS = 30 * DAY_NS  # for windows at regular intervals
TEXT_FIELDS = ('data', 'text', 'caption', 'label', 'description', 'msg')


@dataclass(frozen=True, slots=True)
class Window:
    """A time window of a bag with what is known about it.

    Attributes:
        segment: Index of its segment between two jumps in time, from 0.
        start_ns, end_ns: Time range of audio and clips.
        at_ns: Time of the images.
        texts: Sentences that are valid at `at_ns`.
        facts: Predicates with their truth at `at_ns`.
    """

    segment: int
    start_ns: int
    end_ns: int
    at_ns: int
    texts: tuple[Text, ...]
    facts: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Span:
    """A text with the time range in which it is valid."""

    start_ns: int
    end_ns: int
    text: Text


@dataclass
class Segment:
    """Texts and truths between two jumps in time: times in ns, all in order of recording."""

    first_ns: int
    last_ns: int
    other_clock_ns: int | None = None
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    unstamped: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    truths: list[tuple[int, dict[str, bool]]] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


def segmented(
    bag: Path, options: PairOptions, report: BagReport
) -> Iterator[tuple[int, BagMessage]]:
    """Yield the relevant messages, each with the number of its segment.

    A jump in time of any topic begins a new segment. Both passes over a bag use this function, so
    that they agree on the segments.
    """
    sensors = [t for name in options.modalities for t in options.sensor_topics(name)]
    others = [*options.text_topics(), options.truth_topic]
    if options.windows_at and options.windows_at != WINDOWS_AT_TEXTS:
        others.append(options.windows_at)
    previous: dict[str, tuple[int, int]] = {}
    segment = 0
    for message in read_bag(
        bag, optional=[*sensors, *others], types_folder=options.types_folder, report=report
    ):
        if options.clock == 'log':
            message = replace(message, stamp_ns=message.log_ns)
        before = previous.get(message.topic)
        if before is not None:
            moved, recorded = message.stamp_ns - before[0], message.log_ns - before[1]
            is_set = abs(moved) > DAY_NS  # even if the recorder's clock moved too
            if moved < -MAX_BACK_NS or abs(moved - recorded) > MAX_STEP_NS or is_set:
                segment += 1
                previous.clear()
                report.problem(
                    f'{bag}: topic {message.topic}: time jumps by {moved * 1e-9:+.1f} s at '
                    f'{before[0] * 1e-9:.3f} s; no window crosses it'
                )
        previous[message.topic] = (message.stamp_ns, message.log_ns)
        yield segment, message


def plan_bag(
    bag: Path,
    options: PairOptions,
    *,
    sidecar: Sequence[SidecarRow] = (),
    labels: LabelSet | None = None,
    report: PairsReport,
) -> tuple[list[Window], set[SidecarRow]]:
    """Find the windows of a bag that have sentences, in order of time within each segment.

    Also returns the rows of the sidecar that are within the recording.

    Args:
        bag: rosbag2 folder or storage file.
        options: How to cut.
        sidecar: Rows that apply to this bag (or to every bag).
        labels: Labels of this bag, and of others; they win over its ground truth.
        report: Counts what was dropped.

    Raises:
        BagError: No message of the bag can be read.
    """
    read = BagReport(bag)
    segments = _segments(bag, options, read)
    if not segments:
        topics_to_read(bag, read.problem)
    for line in read.problems:
        report.problem(line)
    report.jumps += max(0, len(segments) - 1)
    for topic, count in read.dropped.items():
        report.dropped[f'undecodable messages on {topic}'] += count
    phrasings = Phrasings.load(options.phrasings)
    rows = _ranged(sidecar, segments)
    labelled = Labelled()
    if labels is not None:
        phrasings = labels.wording(phrasings)
        labelled = labels.of(bag, options.topics)
        _count_outside(labelled, segments, bag=bag, report=report)
    windows = []
    for number, segment in enumerate(segments):
        spans = [
            *_spans(segment, options),
            *(Span(*found, Text(row.text, row.kind)) for row, found in rows),
        ]
        said = {(s.start_ns, s.end_ns) for s in spans} | labelled.ranges
        for start, end, at in _ranges(segment, said, options):
            clipped = max(start, segment.first_ns)
            report.windows += 1
            report.clipped += clipped > start
            known = {**_facts_at(segment, at, options), **labelled.facts_at(at)}
            facts = {name: holds for name, holds in known.items() if holds is not None}
            held = [s.text for s in spans if s.start_ns <= at <= s.end_ns]
            draw = random.Random(f'{options.seed}:{bag.name}:{number}:{at}')
            texts = limited(held, fact_texts(facts, phrasings, options, draw, report), options)
            if texts:
                windows.append(Window(number, min(clipped, end), end, at, texts, facts))
            else:
                report.dropped['windows without a sentence'] += 1
    _count_unused(windows, segments, rows, report)
    return windows, {row for row, span in rows if _is_inside(span, segments)}


def _segments(bag: Path, options: PairOptions, read: BagReport) -> list[Segment]:
    segments: list[Segment] = []
    sources = options.text_topics()
    for number, message in segmented(bag, options, read):
        stamp = message.stamp_ns
        stamped = stamp != message.log_ns or message.is_aligned
        if number == len(segments):
            segments.append(Segment(stamp, stamp))
        segment = segments[number]
        offset = stamp - message.log_ns
        if segment.other_clock_ns is None and abs(offset) > OTHER_CLOCK_NS:
            segment.other_clock_ns = offset
            segment.first_ns = segment.last_ns = stamp
        if stamped or segment.other_clock_ns is None:
            segment.first_ns = min(segment.first_ns, stamp)
            segment.last_ns = max(segment.last_ns, stamp)
        if message.topic == options.windows_at:
            segment.marks.append(stamp if stamped else stamp + (segment.other_clock_ns or 0))
        if message.topic == options.truth_topic:
            facts = facts_of(message, read)
            if facts is not None:
                segment.truths.append((stamp, facts))
        elif message.topic in sources:
            table = segment.texts if stamped else segment.unstamped
            table.setdefault(message.topic, []).append((stamp, _text_of(message.message)))
    for segment in segments:
        segment.truths.sort(key=lambda event: event[0])
    return segments


def _text_of(message: Any) -> str:
    found = (getattr(message, name, None) for name in TEXT_FIELDS)
    return next((text.strip() for text in found if isinstance(text, str)), '')


def _spans(segment: Segment, options: PairOptions) -> list[Span]:
    sources = options.text_topics()
    shift = segment.other_clock_ns or 0
    spans = []
    for topic, source in sources.items():
        events = list(segment.texts.get(topic, []))
        events += [(stamp + shift, text) for stamp, text in segment.unstamped.get(topic, [])]
        events.sort(key=lambda event: event[0])
        if not events:
            continue
        ends = [stamp - 1 for stamp, _ in events[1:]] + [segment.last_ns]
        for (start, text), end in zip(events, ends, strict=True):
            if text:
                spans.append(Span(start, max(start, end), Text(text, source)))
    return spans


def _ranged(
    rows: Sequence[SidecarRow], segments: Sequence[Segment]
) -> list[tuple[SidecarRow, tuple[int, int]]]:
    """Rows with their (start, end) on the clock of the bag."""
    if not segments:
        return []
    begin_ns, end_ns = segments[0].first_ns, max(segment.last_ns for segment in segments)
    return [(row, row.range_ns(begin_ns, end_ns)) for row in rows]


def _is_inside(span: tuple[int, int], segments: Sequence[Segment]) -> bool:
    return any(span[0] <= s.last_ns and span[1] >= s.first_ns for s in segments)


def _ranges(
    segment: Segment, texts: set[tuple[int, int]], options: PairOptions
) -> Iterator[tuple[int, int, int]]:
    """(start, end, time of images) of every window; `texts` are the ranges of sentences."""
    length = round(options.window_s * 1e9)
    if options.windows_at == WINDOWS_AT_TEXTS:
        for start, end in sorted(texts):
            begin, end = max(start, segment.first_ns), min(end, segment.last_ns)
            if begin <= end:
                yield begin, end, (begin + end) // 2
        return
    if options.windows_at:
        ends = sorted(segment.marks)
    elif options.every_s is None and segment.truths:
        ends = sorted(stamp for stamp, _ in segment.truths)
    else:
        step = round((options.every_s or 1.0) * 1e9)
        span_ns = segment.last_ns - segment.first_ns
        if span_ns > MAX_SPAN_NS:
            raise ValueError(
                f'its stamps span {span_ns / DAY_NS:,.0f} days; give --clock log to go by the '
                f'times of recording'
            )
        ends = list(range(segment.first_ns + step, segment.last_ns + 1, step))
    for end in dict.fromkeys(ends):
        yield end - length, end, end


def _facts_at(segment: Segment, at_ns: int, options: PairOptions) -> dict[str, bool]:
    limit = round(options.max_offset_s * 1e9)
    near = [(abs(stamp - at_ns), facts) for stamp, facts in _around(segment.truths, at_ns)]
    offset, facts = min(near, key=lambda found: found[0], default=(limit + 1, {}))
    return facts if offset <= limit else {}


def _around(
    events: list[tuple[int, dict[str, bool]]], at_ns: int
) -> list[tuple[int, dict[str, bool]]]:
    place = bisect_left(events, at_ns, key=lambda event: event[0])
    return events[max(0, place - 1) : bisect_right(events, at_ns, key=lambda e: e[0]) + 1]


def fact_texts(
    facts: Mapping[str, bool],
    phrasings: Phrasings,
    options: PairOptions,
    draw: random.Random,
    report: PairsReport,
) -> list[Text]:
    """Sentences for the facts of a window: first those that hold, then about as many negations.

    A fact of an unknown relation is counted and gets no sentences.
    """
    sides: dict[bool, list[Text]] = {True: [], False: []}
    for name, holds in facts.items():
        try:
            sentences = phrasings.sentences(name)
        except (KeyError, ValueError) as error:
            report.dropped['facts without wordings'] += 1
            report.problem(f'fact {name!r} has no sentences: {error.args[0]}')
            continue
        choices = sentences.positive if holds else sentences.negative
        chosen = draw.sample(choices, min(options.sentences_per_fact, len(choices)))
        sides[holds] += [Text(sentence, 'predicate') for sentence in chosen]
    for side in sides.values():
        draw.shuffle(side)
    denied = max(len(sides[True]), options.sentences_per_fact)
    return sides[True] + sides[False][:denied]


def limited(
    said: Sequence[Text], from_facts: Sequence[Text], options: PairOptions
) -> tuple[Text, ...]:
    """Texts by people first, then texts from facts, without duplicates."""
    once: dict[str, Text] = {}
    for text in (*said, *from_facts):
        once.setdefault(text.text, text)
    return tuple(once.values())[: options.max_texts]


def _count_outside(
    labelled: Labelled, segments: Sequence[Segment], *, bag: Path, report: PairsReport
) -> None:
    outside = sum(not _is_inside(span, segments) for span in labelled.ranges)
    if outside:
        report.dropped['labels outside the recording'] += outside
        report.problem(f'{bag}: {outside} labels lie outside of the recording')


def _count_unused(
    windows: Sequence[Window],
    segments: Sequence[Segment],
    rows: Sequence[tuple[SidecarRow, tuple[int, int]]],
    report: PairsReport,
) -> None:
    used = {text.text for window in windows for text in window.texts}
    unused = sum(_is_inside(span, segments) and row.text not in used for row, span in rows)
    if unused:
        report.dropped['sidecar sentences in no window'] += unused
