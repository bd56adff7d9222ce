"""`lb-ros watch`: show scores and states of running nodes as they arrive."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from encoders import PredicateScore, State
from encoders.predicates.score_arrays import ScoreArrays, no_scores, scores_in
from encoders.predicates.state_arrays import states_in
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.ros.qos import LATCHED
from lb_ros.ros.stamps import to_ns
from lb_ros.stopping import interrupt_on_stop

BARS = '▁▂▃▄▅▆▇█'
SPARKS = 30  # values of a sparkline
PERIOD_S = 0.25
STYLES = {State.TRUE: 'bold green', State.FALSE: 'dim', State.UNKNOWN: 'yellow'}


PROBABILITY = r'probability [0-9.]+(?: \((.*)\))?'  # repeats the column `p`; the note does not
WIDE = Console(width=10_000)  # to measure the width that a table needs


@dataclass(frozen=True, slots=True)
class Layout:
    """Content of a table.

    Attributes:
        sparks: Number of values of the sparkline; 0 for none.
        columns: Some of `sensors` and `why`.
        name_width: Width at which names of predicates are wrapped; None for never.
    """

    sparks: int
    columns: tuple[str, ...]
    name_width: int | None = None


# Ordered from wide to narrow terminals.
LAYOUTS = (
    Layout(SPARKS, ('sensors', 'why')),
    Layout(10, ('sensors', 'why')),
    Layout(SPARKS, ('sensors',)),
    Layout(10, ('sensors',), 40),
    Layout(0, ('sensors',), 32),
    Layout(0, ('sensors',), 20),
    Layout(10, (), 24),
    Layout(0, (), 20),
)


@dataclass
class Seen:
    """Messages received so far.

    Attributes:
        newest: The message of the last evaluation.
        scores: Its scores.
        states: State and reason by name.
        courses: Last fused probabilities by name; NaN if no sensor was informative.
    """

    newest: PredicateScores | None = None
    scores: ScoreArrays = field(default_factory=no_scores)
    states: dict[str, tuple[State, str]] = field(default_factory=dict)
    courses: dict[str, deque[float]] = field(default_factory=dict)

    def take_scores(self, message: PredicateScores) -> None:
        """Store an evaluation; forget predicates that are no longer scored."""
        scores = scores_in(message)
        self.newest, self.scores = message, scores
        courses = {}
        for name, fused in zip(scores.names, scores.fused.tolist(), strict=True):
            courses[name] = self.courses.get(name, deque(maxlen=SPARKS))
            courses[name].append(fused)
        self.courses = courses

    def take_states(self, message: PredicateStates) -> None:
        """Store the latched states."""
        self.states = {name: (s.state, s.reason) for name, s in states_in(message).items()}

    def state_of(self, name: str) -> tuple[State, str]:
        """Return state and reason; UNKNOWN if none has been received yet."""
        return self.states.get(name, (State.UNKNOWN, ''))


def run(args: argparse.Namespace) -> int:
    """Run `lb-ros watch`."""
    return watch(as_json=args.json, seconds=args.seconds, namespace=args.namespace)


def watch(*, as_json: bool, seconds: float, namespace: str = '') -> int:
    """Show scores until a signal or for `seconds`; return 1 if nothing arrived."""
    use_dds_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    seen = Seen()
    try:
        interrupt_on_stop()
        _listen(seen, as_json=as_json, end_s=time.monotonic() + seconds, namespace=namespace)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
    if seen.newest is None:
        print('lb-ros watch: no scores arrived; is bringup running?', file=sys.stderr)
        return 1
    return 0


def _listen(seen: Seen, *, as_json: bool, end_s: float, namespace: str) -> None:
    node = Node('watch', namespace=namespace or None)
    node.create_subscription(PredicateScores, 'predicates/scores', seen.take_scores, 10)
    node.create_subscription(PredicateStates, 'predicates/state', seen.take_states, LATCHED)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        (_print_json if as_json else _show_table)(executor, seen, end_s)
    finally:
        executor.shutdown()
        node.destroy_node()


def _print_json(executor: SingleThreadedExecutor, seen: Seen, end_s: float) -> None:
    shown = None
    while time.monotonic() < end_s:
        executor.spin_once(timeout_sec=min(PERIOD_S, max(0.0, end_s - time.monotonic())))
        if seen.newest is not None and seen.newest is not shown:
            shown = seen.newest
            print(json.dumps(as_values(seen)), flush=True)


def _show_table(executor: SingleThreadedExecutor, seen: Seen, end_s: float) -> None:
    console = Console()
    redraw_s = 0.0
    with Live(console=console, auto_refresh=False) as live:
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=min(PERIOD_S, max(0.0, end_s - time.monotonic())))
            if seen.newest is not None and time.monotonic() >= redraw_s:
                redraw_s = time.monotonic() + PERIOD_S
                live.update(screen(seen, console.width, console.height), refresh=True)


def as_values(seen: Seen) -> dict[str, Any]:
    """Return the last evaluation as plain values; None where no sensor is informative."""
    assert seen.newest is not None

    def described(score: PredicateScore) -> dict[str, Any]:
        state, reason = seen.state_of(score.name)
        return {
            'state': state.name,
            'reason': reason,
            'probability': score.fused if score.can_tell else None,
            'by_modality': score.probability,
            'calibrated': score.calibrated,
            'reasons': list(score.reasons),
        }

    return {
        'stamp_s': to_ns(seen.newest.header.stamp) * 1e-9,
        'latency_ms': float(seen.newest.latency_ms),
        'predicates': {score.name: described(score) for score in seen.scores},
    }


def screen(seen: Seen, width: int, height: int) -> RenderableType:
    """Return the predicates that fit a terminal, in the richest layout that fits its width.

    Reasons that do not fit into the table follow below it; sensors that do not fit are left out
    and named in the caption.
    """
    limit = max(3, height - 6)
    for layout in LAYOUTS:
        below = 'why' not in layout.columns
        found = table(seen, limit=max(3, limit // 2) if below else limit, layout=layout)
        if Measurement.get(WIDE, WIDE.options, found).maximum <= width or layout is LAYOUTS[-1]:
            break
    if not below:
        return found
    if 'sensors' not in layout.columns:
        hidden = f'not shown in {width} columns: {", ".join(seen.scores.modalities)}'
        found.caption = f'{found.caption}; {hidden}' if found.caption else hidden
    return Group(found, *reasons_below(seen, max(3, limit // 2)))


def reasons_below(seen: Seen, limit: int) -> list[Text]:
    """Return one line per reason other than the probability, for at most `limit` predicates."""
    notes: dict[str, list[str]] = {}
    for score in seen.scores[:limit]:
        reason = seen.state_of(score.name)[1]
        found = re.fullmatch(PROBABILITY, reason)
        note = found[1] if found else reason
        if note:
            notes.setdefault(note, []).append(score.name)
    return [
        Text.assemble(f' {", ".join(names)}: ', (note, 'dim')) for note, names in notes.items()
    ]


def table(seen: Seen, *, limit: int, layout: Layout | None = None) -> Table:
    """Return one row per predicate, at most `limit`: state, probability, course, sensors."""
    assert seen.newest is not None
    layout = layout or LAYOUTS[0]
    modalities = seen.scores.modalities if 'sensors' in layout.columns else ()
    found = Table(box=SIMPLE_HEAD, title=f'latency {seen.newest.latency_ms:.0f} ms')
    found.add_column('predicate', no_wrap=layout.name_width is None, max_width=layout.name_width)
    found.add_column('state', no_wrap=True)
    found.add_column('p', justify='right', no_wrap=True)
    if layout.sparks:
        found.add_column(f'last {layout.sparks}', no_wrap=True, min_width=layout.sparks)
    for name in modalities:
        found.add_column(name, justify='right', no_wrap=True)
    if 'why' in layout.columns:
        found.add_column('why')
    for score in seen.scores[:limit]:
        state, reason = seen.state_of(score.name)
        course = sparkline(seen.courses[score.name])[-layout.sparks :] if layout.sparks else ''
        found.add_row(
            score.name,
            Text(state.name, STYLES[state]),
            _number(score.fused if score.can_tell else math.nan),
            *([Text(course, STYLES[state])] if layout.sparks else []),
            *(_number(score.probability.get(name, math.nan)) for name in modalities),
            *([Text(reason, 'dim')] if 'why' in layout.columns else []),
        )
    if len(seen.scores) > limit:
        found.caption = f'and {len(seen.scores) - limit} more'
    return found


def sparkline(values: deque[float]) -> str:
    """Return one bar per probability, 0..1; a space where no sensor was informative."""
    top = len(BARS) - 1
    return ''.join(
        ' ' if math.isnan(v) else BARS[min(top, max(0, round(v * top)))] for v in values
    )


def _number(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.2f}'
