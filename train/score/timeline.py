"""Scores over time, as the data of the timeline image and the timeline page."""

from __future__ import annotations

import base64
import bisect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from encoders import MODALITIES, SENSED, State
from encoders.decode import DecodeError
from encoders.predicates.fusion import caveats, taught_reason
from train.bags.reader import BagReport
from train.score.channel_lines import ChannelLines, ChannelRecorder
from train.score.embed import BagSource
from train.score.table import FUSED, Truth
from train.score.thumbnail import thumbnail
from train.score.track import Scored
from train.template import render

PAGE = Path(__file__).parent / 'page'
TEMPLATE = Path(__file__).with_name('scored.html.j2')
STYLES = ('uPlot.min.css', 'timeline.css')
SCRIPTS = ('uPlot.iife.min.js', 'timeline.js', 'channels.js')
MAX_POINTS = 6000  # per line; more cannot be distinguished
MAX_THUMBNAILS = 120  # per modality

Changing = TypeVar('Changing')


@dataclass
class Line:
    """One predicate over time, in seconds since the start of the bag.

    Attributes:
        name: Name of the predicate.
        series: Modality, or `fused`, to times and probabilities (None without evidence).
        states: (time, name of the state) at every change.
        truth: (time, value) at every change; empty if unknown.
        caveats: (time, series to the reason why its values need care) at every change;
            see `encoders.predicates.fusion.caveats`.
        taught: (time, what the score says about teaching) at every change.
    """

    name: str
    series: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    states: list[tuple[float, str]] = field(default_factory=list)
    truth: list[tuple[float, bool]] = field(default_factory=list)
    caveats: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    taught: list[tuple[float, str]] = field(default_factory=list)

    def doubted(self, key: str, time_s: float) -> bool:
        """Whether a series has a caveat at a moment."""
        return key in (value_at(self.caveats, time_s) or ())

    def add(self, key: str, time_s: float, probability: float | None) -> None:
        """Add a point to a series."""
        series = self.series.setdefault(key, {'t': [], 'p': []})
        series['t'].append(round(time_s, 3))
        series['p'].append(None if probability is None else round(probability, 3))


@dataclass(frozen=True)
class Timeline:
    """All predicates of a bag over time, with images: (time, modality, JPEG), and channels."""

    title: str
    duration_s: float
    lines: list[Line]
    thumbnails: list[tuple[float, str, bytes]]
    channels: list[ChannelLines] = field(default_factory=list)


def make_timeline(
    title: str,
    moments: Sequence[Scored],
    truth: Truth,
    thumbnails: Sequence[tuple[int, str, bytes]],
    channels: Sequence[ChannelLines] = (),
) -> Timeline:
    """Collect the data of a timeline.

    Args:
        title: Title of the page.
        moments: Scored moments, in order.
        truth: (stamp, value) by predicate.
        thumbnails: (stamp, modality, JPEG).
        channels: Channels of series.
    """
    start_ns = moments[0].time_ns if moments else 0
    lines: dict[str, Line] = {}
    stride = max(1, len(moments) // MAX_POINTS)
    for index, moment in enumerate(moments):
        time_s = (moment.time_ns - start_ns) * 1e-9
        for score in moment.evaluation.scores:
            line = lines.setdefault(score.name, Line(score.name))
            if index % stride == 0:
                line.add(FUSED, time_s, score.fused if score.can_tell else None)
                for modality in moment.fresh:
                    if modality in score.probability:
                        line.add(modality, time_s, score.probability[modality])
            state = State(moment.evaluation.states[score.name].state).name
            said = caveats(score.probability, calibrated=score.calibrated, reasons=score.reasons)
            _change(line.states, time_s, state)
            _change(line.caveats, time_s, said)
            _change(line.taught, time_s, taught_reason(score.reasons))
    for name, values in truth.items():
        for stamp_ns, value in values:
            _change(lines[name].truth, (stamp_ns - start_ns) * 1e-9, value)
    end_ns = moments[-1].time_ns if moments else 0
    shown = [((stamp_ns - start_ns) * 1e-9, m, jpeg) for stamp_ns, m, jpeg in thumbnails]
    duration_s = (end_ns - start_ns) * 1e-9
    return Timeline(title, duration_s, list(lines.values()), shown, list(channels))


def value_at(changes: Sequence[tuple[float, Changing]], time_s: float) -> Changing | None:
    """The value of the last (time, value) at or before a time; None before the first."""
    index = bisect.bisect_right(changes, time_s, key=lambda change: change[0]) - 1
    return changes[index][1] if index >= 0 else None


def _change(changes: list[tuple[float, Changing]], time_s: float, value: Changing) -> None:
    if not changes or changes[-1][1] != value:
        changes.append((round(time_s, 3), value))


def thumbnails_of(
    source: BagSource, duration_s: float, *, channels: ChannelRecorder | None = None
) -> list[tuple[int, str, bytes]]:
    """Evenly spaced images of every sensor of a bag: (stamp, modality, JPEG).

    Args:
        source: The bag.
        duration_s: Its length.
        channels: Gets the series instead; without it they have images as well.
    """
    step_s = max(duration_s / MAX_THUMBNAILS, 0.5)
    return list(thumbnails(source, step_s, channels=channels))


def thumbnails(
    source: BagSource, step_s: float, *, channels: ChannelRecorder | None = None
) -> Iterator[tuple[int, str, bytes]]:
    """Yield images of every sensor of a bag, at least `step_s` apart; see `thumbnails_of`."""
    step_ns = round(step_s * 1e9)
    due_ns: dict[str, int] = {}
    for window in source.windows(BagReport(source.path)):
        if channels is not None and MODALITIES[window.modality].kind == 'series':
            channels.add(window)
            continue
        if window.stamp_ns < due_ns.get(window.modality, -(1 << 62)):
            continue
        due_ns[window.modality] = window.stamp_ns + step_ns
        try:
            yield window.stamp_ns, window.modality, thumbnail(window.modality, window.raw())
        except DecodeError:  # reported when it was embedded
            continue


def write_page(timeline: Timeline, path: Path) -> None:
    """Write one self-contained HTML file."""
    pictures: dict[str, list[Any]] = {m: [] for m in SENSED}
    for time_s, modality, jpeg in timeline.thumbnails:
        coded = 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode()
        pictures[modality].append([round(time_s, 3), coded])
    data = {
        'title': timeline.title,
        'duration_s': timeline.duration_s,
        'lines': [vars(line) for line in timeline.lines],
        'pictures': {m: entries for m, entries in pictures.items() if entries},
        'channels': [asdict(lines) for lines in timeline.channels],
    }
    css, js = (
        '\n'.join((PAGE / name).read_text() for name in names) for names in (STYLES, SCRIPTS)
    )
    path.write_text(render(TEMPLATE, css=css, js=js, data=data))
