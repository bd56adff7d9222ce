"""What happened in a session, and how the page receives it: as points and changes of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lb_ros.dashboard.answers import FUSED

CHANGES = ('states', 'truth', 'caveats', 'taught')
# What a new answer about the past replaces; the truth is not an answer.
ANSWERED = ('states', 'caveats', 'taught')
# Maximum number of points per line in the first update; more cannot be distinguished on screen.
SNAPSHOT_POINTS = 1500


@dataclass(frozen=True, slots=True)
class Event:
    """New content at one time: probabilities by series and name, or changes by name.

    Attributes:
        sequence: Number of the event.
        time_s: Seconds since the session began.
        series: Probabilities by series (a modality or `fused`), then by name.
        states, truth: New values by name.
        caveats: By name, as from `encoders.predicates.fusion.caveats`.
        taught: By name, as from `encoders.predicates.fusion.taught_reason`.
    """

    sequence: int
    time_s: float
    series: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, bool] = field(default_factory=dict)
    caveats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    taught: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Names of the predicates and questions of this event."""
        changed = {name for kind in CHANGES for name in getattr(self, kind)}
        return changed.union(*self.series.values())


def valid(event: Event, kind: str, replaced: Mapping[str, int]) -> dict[str, Any]:
    """The changes of a kind without those that later answers have replaced."""
    changes: Mapping[str, Any] = getattr(event, kind)
    if kind not in ANSWERED:
        return dict(changes)
    return {n: v for n, v in changes.items() if event.sequence >= replaced.get(n, 0)}


def thinned(events: Sequence[Event]) -> list[Event]:
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


def lines_of(
    events: Sequence[Event], replaced: Mapping[str, int], since: int
) -> dict[str, dict[str, Any]]:
    """Lines as the timeline expects; `replaced` if their earlier points no longer hold."""
    lines: dict[str, dict[str, Any]] = {}

    def line(name: str) -> dict[str, Any]:
        made = {'name': name, 'series': {}, **{kind: [] for kind in CHANGES}}
        return lines.setdefault(name, made | {'replaced': replaced.get(name, 0) > since})

    for event in events:
        for key, values in event.series.items():
            for name, value in values.items():
                if event.sequence < replaced.get(name, 0):
                    continue
                series = line(name)['series'].setdefault(key, {'t': [], 'p': []})
                series['t'].append(event.time_s)
                series['p'].append(None if value is None else round(value, 3))
        for kind in CHANGES:
            for name, word in valid(event, kind, replaced).items():
                line(name)[kind].append((event.time_s, word))
    return lines
