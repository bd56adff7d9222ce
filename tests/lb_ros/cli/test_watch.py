"""What `lb-ros watch` makes of scores and states."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
from collections import deque

import pytest
from rich.console import Console

from lb_ros.cli.watch import Seen, as_values, screen, sparkline, table
from lb_ros.msg import PredicateScore, PredicateScores, PredicateState, PredicateStates
from tests.waiting import wait_for_handler


def seen() -> Seen:
    found = Seen()
    for probability in (0.1, 0.9):
        known = PredicateScore(
            name='drawer_open',
            modalities=['depth'],
            similarities=[0.1],
            probabilities=[probability],
            ages_ms=[5.0],
            probability=probability,
            reasons=['audio cannot tell'],
        )
        blind = PredicateScore(name='stove_hot', probability=math.nan, reasons=['depth silent'])
        found.take_scores(PredicateScores(scores=[known, blind]))
    found.take_states(
        PredicateStates(states=[PredicateState(name='drawer_open', state=2, reason='clear')])
    )
    return found


def test_a_sparkline_has_a_bar_for_each_value() -> None:
    assert sparkline(deque([0.0, 0.5, 1.0, math.nan])) == '▁▅█ '


def test_values_are_json_without_nan() -> None:
    values = json.loads(json.dumps(as_values(seen()), allow_nan=False))['predicates']
    assert values['drawer_open']['state'] == 'TRUE'
    assert values['drawer_open']['by_modality'] == {'depth': pytest.approx(0.9)}
    assert values['stove_hot']['probability'] is None
    assert values['stove_hot']['reasons'] == ['depth silent']


def test_the_table_shows_state_history_and_reason() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(table(seen(), limit=1))
    text = console.file.getvalue()
    for part in ('drawer_open', 'TRUE', '0.90', '▂▇', 'clear', 'and 1 more'):
        assert part in text


def test_removed_predicates_leave_the_table() -> None:
    found = seen()
    found.take_scores(PredicateScores(scores=[]))
    assert found.courses == {}


def robot(*names: str) -> Seen:
    """Four sensors, and a state with a reason for each predicate."""
    found = Seen()
    modalities = ['image', 'depth', 'infrared', 'audio']
    for step in range(40):
        scores = [
            PredicateScore(
                name=name,
                modalities=modalities,
                similarities=[0.0] * 4,
                probabilities=[0.11, 0.22, 0.33, 0.44],
                ages_ms=[5.0] * 4,
                probability=(step % 10) / 10,
            )
            for name in names
        ]
        found.take_scores(PredicateScores(scores=scores))
    reasons = (
        'no modality has evidence',
        'probability 0.52 (infrared: silent)',
        'probability 0.9',
    )
    states = [
        PredicateState(name=name, state=index % 3, reason=reasons[index % 3])
        for index, name in enumerate(names)
    ]
    found.take_states(PredicateStates(states=states))
    return found


def drawn(found: Seen, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(found, width, 24))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ('width', 'shown', 'hidden'),
    [
        (160, ('last 30', '0.11', 'why'), ()),
        (120, ('last 10', '0.11', 'why'), ()),
        (80, ('0.11', '0.44', 'drawer_open: no modality'), ('why',)),
        (60, ('not shown in 60 columns: image', 'last 10', 'drawer_open: no'), ('0.11',)),
        (40, ('not shown in 40 columns: image', 'drawer_open: no'), ('last 10', '0.11')),
    ],
)
def test_a_terminal_of_any_width_shows_states_probabilities_and_reasons(
    width: int, shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    text = drawn(robot('drawer_open', 'stove_hot', 'gripper_empty'), width)
    assert max(map(len, text.splitlines())) <= width
    assert '…' not in text
    for part in ('UNKNOWN', 'FALSE', 'TRUE', '0.90', 'infrared: silent', *shown):
        assert part in ' '.join(text.split()), part
    for part in hidden:
        assert part not in text, part


def test_a_long_sentence_is_wrapped_before_sensors_are_left_out() -> None:
    text = drawn(robot('the drawer is open and the gripper is empty', 'stove_hot'), 80)
    assert '0.44' in text and '…' not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.ros
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_ends_it_as_an_interrupt_does(ros_domain: int, signum: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.cli', 'watch'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_handler(process, signal.SIGHUP)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == 'lb-ros watch: no scores arrived; is bringup running?\n'
