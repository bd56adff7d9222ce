"""Scores over time as one record that is drawn as a picture and as a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders import SENSED, State
from encoders.decode import DecodeError
from train.bags.reader import BagReport
from train.score.embed import BagSource
from train.score.table import FUSED, Truth
from train.score.thumbnail import thumbnail
from train.score.track import Scored

PAGE = Path(__file__).parent / 'page'
MAX_POINTS = 6000  # a line; more cannot be told apart
MAX_THUMBNAILS = 120  # of a modality


@dataclass
class Line:
    """One predicate over time, seconds since the start of the bag.

    Attributes:
        name: Of the predicate.
        series: Modality, or `fused`, to times and probabilities (None without evidence).
        states: (time, name of the state) at every change.
        truth: (time, value) at every change; empty where it is not known.
    """

    name: str
    series: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    states: list[tuple[float, str]] = field(default_factory=list)
    truth: list[tuple[float, bool]] = field(default_factory=list)

    def add(self, key: str, time_s: float, probability: float | None) -> None:
        """Add a point to a series."""
        series = self.series.setdefault(key, {'t': [], 'p': []})
        series['t'].append(round(time_s, 3))
        series['p'].append(None if probability is None else round(probability, 3))


@dataclass(frozen=True)
class Timeline:
    """All predicates of a bag over time, with pictures: (time, modality, JPEG)."""

    title: str
    duration_s: float
    lines: list[Line]
    thumbnails: list[tuple[float, str, bytes]]


def make_timeline(
    title: str,
    moments: Sequence[Scored],
    truth: Truth,
    thumbnails: Sequence[tuple[int, str, bytes]],
) -> Timeline:
    """Collect what a page shows.

    Args:
        title: Of the page.
        moments: In order.
        truth: (stamp, value) by predicate.
        thumbnails: (stamp, modality, JPEG).
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
            if not line.states or line.states[-1][1] != state:
                line.states.append((round(time_s, 3), state))
    for name, values in truth.items():
        for stamp_ns, value in values:
            known = lines[name].truth
            if not known or known[-1][1] != value:
                known.append((round((stamp_ns - start_ns) * 1e-9, 3), value))
    end_ns = moments[-1].time_ns if moments else 0
    shown = [((stamp_ns - start_ns) * 1e-9, m, jpeg) for stamp_ns, m, jpeg in thumbnails]
    return Timeline(title, (end_ns - start_ns) * 1e-9, list(lines.values()), shown)


def thumbnails_of(source: BagSource, duration_s: float) -> list[tuple[int, str, bytes]]:
    """Evenly spread pictures of every sensor of a bag: (stamp, modality, JPEG)."""
    found: list[tuple[int, str, bytes]] = []
    step_ns = round(max(duration_s / MAX_THUMBNAILS, 0.5) * 1e9)
    due_ns: dict[str, int] = {}
    for window in source.windows(BagReport(source.path)):
        if window.stamp_ns < due_ns.get(window.modality, -(1 << 62)):
            continue
        due_ns[window.modality] = window.stamp_ns + step_ns
        try:
            found.append(
                (window.stamp_ns, window.modality, thumbnail(window.modality, window.raw()))
            )
        except DecodeError:  # told when it was embedded
            continue
    return found


def write_page(timeline: Timeline, path: Path) -> None:
    """Write one HTML file that needs nothing else."""
    pictures: dict[str, list[Any]] = {m: [] for m in SENSED}
    for time_s, modality, jpeg in timeline.thumbnails:
        coded = 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode()
        pictures[modality].append([round(time_s, 3), coded])
    data = {
        'title': timeline.title,
        'duration_s': timeline.duration_s,
        'lines': [vars(line) for line in timeline.lines],
        'pictures': {m: entries for m, entries in pictures.items() if entries},
    }
    page = (PAGE / 'scored.html').read_text()
    filled = {
        '/*CSS*/': (PAGE / 'timeline.css').read_text(),
        '/*JS*/': (PAGE / 'timeline.js').read_text(),
        # A name may hold anything, but it must not end the script.
        '/*DATA*/': json.dumps(data, allow_nan=False).replace('<', '\\u003c'),
    }
    for mark, text in filled.items():
        page = page.replace(mark, text)
    path.write_text(page)
