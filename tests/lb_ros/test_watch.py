"""What `lb-ros watch` makes of scores and states."""

from __future__ import annotations

import io
import json
import math
from collections import deque

import pytest

pytest.importorskip('rclpy')

from rich.console import Console

from lb_ros.msg import PredicateScore, PredicateScores, PredicateState, PredicateStates
from lb_ros.watch import Seen, as_values, sparkline, table


def seen() -> Seen:
    found = Seen()
    for probability in (0.1, 0.9):
        known = PredicateScore(
            name='drawer_open',
            modalities=['depth'],
            probabilities=[probability],
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


def test_the_table_shows_state_course_and_reason() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(table(seen(), limit=1))
    text = console.file.getvalue()
    for part in ('drawer_open', 'TRUE', '0.90', '▂▇', 'clear', 'and 1 more'):
        assert part in text


def test_predicates_that_are_gone_are_forgotten() -> None:
    found = seen()
    found.take_scores(PredicateScores(scores=[]))
    assert found.courses == {}
