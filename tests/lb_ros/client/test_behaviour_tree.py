"""The behaviours of `lb_ros.behaviours`, in trees that ask a running bringup."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import py_trees
import pytest
from py_trees.common import Status

from encoders import Predicate, State
from lb_ros.behaviours import Condition, Guard, Wait
from lb_ros.client import LanguageClient, NotAnsweredError
from tests.lb_ros.robot import LIMIT_S, START_S, Robot, bringup, colours, listening, picture

pytestmark = pytest.mark.ros

DOCS = Path(__file__).resolve().parents[3] / 'docs' / 'predicates.md'
OPEN, CLOSED = ('the drawer is open',), ('the drawer is closed',)
# Far less than the seconds that a call to a dead node takes, much more than a tick.
TICK_S = 1.0
MODALITY = 'modalities:=[image]'


def documented() -> Callable[[Any], Any]:
    """The function `fetch` as it is written in the documentation."""
    (code,) = re.findall(r'```python\n(import py_trees\n.*?)```', DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), 'exec'), names)
    return names['fetch']


def asked(name: str, *sides: tuple[str, ...]) -> Predicate:
    limits = {'threshold_on': 0.5, 'threshold_off': 0.5, 'dwell_ms': 0.0, 'max_age_ms': 800.0}
    return Predicate(name, *sides, modalities=('image',), **limits)


def score(*names: str) -> tuple[str, str]:
    """Score predicates of which the first and the second are each other's opposite.

    Any evidence makes one of them TRUE and the other FALSE.
    """
    first, second = names
    with LanguageClient(timeout_s=START_S) as client:
        client.set([asked(first, OPEN, CLOSED), asked(second, CLOSED, OPEN)])
    return first, second


def tick(*behaviours: Any) -> list[Status]:
    """The statuses after a tick, which must not have waited for anything."""
    began_s = time.monotonic()
    for behaviour in behaviours:
        behaviour.tick_once()
    assert time.monotonic() - began_s < TICK_S
    return [behaviour.status for behaviour in behaviours]


def tick_those_that_run(behaviours: list[Any]) -> None:
    tick(*(each for each in behaviours if each.status is Status.RUNNING))


@contextmanager
def set_up(robot: Robot, behaviours: list[Any]) -> Iterator[None]:
    for each in behaviours:
        each.setup(node=robot, timeout_s=START_S)
    try:
        yield
    finally:
        for each in behaviours:
            each.shutdown()


def test_a_condition_follows_the_sensor_and_fails_with_its_node(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    conditions = [
        Condition('open'),
        Condition('closed'),
        Condition('open', unknown=Status.FAILURE, name='open, or fail'),
        Condition('open', state=State.UNKNOWN, name='unknown'),
        Condition('never heard of'),
    ]
    no_sensor = [Status.RUNNING, Status.RUNNING, Status.FAILURE, Status.SUCCESS, Status.FAILURE]
    with listening() as robot, bringup(robot, tiny_model_set, tmp_path, MODALITY):
        score('open', 'closed')
        with set_up(robot, conditions):
            assert len({id(condition.client) for condition in conditions}) == 1
            robot.until(lambda: tick(*conditions) == no_sensor, limit_s=LIMIT_S)
            assert "'never heard of' is scored" in conditions[-1].feedback_message
            robot.until(
                lambda: sorted(s.name for s in tick(*conditions)[:2]) == ['FAILURE', 'SUCCESS'],
                lambda: robot.send('image'),
                limit_s=LIMIT_S,
            )
            assert conditions[3].status is Status.FAILURE
            robot.until(lambda: tick(*conditions) == no_sensor, limit_s=LIMIT_S)
            assert 'image stale' in conditions[0].feedback_message
            robot.process.kill()
            failed = [Status.FAILURE] * len(conditions)
            robot.until(lambda: tick(*conditions) == failed, limit_s=LIMIT_S)
            assert 'stopped or died' in conditions[0].feedback_message


def test_a_wait_ends_with_the_state_the_time_or_the_node(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    with listening() as robot, bringup(robot, tiny_model_set, tmp_path, MODALITY):
        score('open', 'closed')
        waits = [
            Wait('open', state=State.UNKNOWN),
            Wait('open', state=State.UNKNOWN, new=True, timeout_s=0.0),
            Wait('open', timeout_s=0.5),
            Wait('never heard of'),
        ]
        with set_up(robot, waits):
            assert tick(*waits)[1] is Status.RUNNING
            robot.until(
                lambda: (
                    [w.status for w in waits if w is not waits[1]]
                    == [Status.SUCCESS, Status.FAILURE, Status.FAILURE]
                ),
                lambda: tick_those_that_run(waits),
                limit_s=LIMIT_S,
            )
            assert 'not within 0.5 s: open is UNKNOWN' in waits[2].feedback_message
            assert "no predicate 'never heard of'" in waits[3].feedback_message
            # The state was there when the wait began; it must end, and begin again.
            assert waits[1].status is Status.RUNNING
            robot.until(lambda: robot.knows('open'), lambda: robot.send('image'), limit_s=LIMIT_S)
            robot.until(
                lambda: waits[1].status is Status.SUCCESS,
                lambda: tick_those_that_run(waits),
                limit_s=LIMIT_S,
            )


@pytest.mark.slow
def test_a_wait_can_be_stopped_and_fails_with_its_node(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    with listening() as robot, bringup(robot, tiny_model_set, tmp_path, MODALITY):
        score('open', 'closed')
        waits = [Wait('open', timeout_s=0.0), Wait('closed', timeout_s=0.0)]
        with set_up(robot, waits):
            assert tick(*waits) == [Status.RUNNING] * 2
            waits[0].stop(Status.INVALID)
            assert waits[0].status is Status.INVALID
            assert tick(*waits) == [Status.RUNNING] * 2  # the wait is sent again
            robot.process.kill()
            robot.until(
                lambda: [wait.status for wait in waits] == [Status.FAILURE] * 2,
                lambda: tick_those_that_run(waits),
                limit_s=LIMIT_S,
            )
            assert 'stopped or died' in waits[0].feedback_message


def test_the_documented_tree_stops_what_it_guards(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    fetch = documented()
    with listening() as robot, bringup(robot, tiny_model_set, tmp_path, MODALITY):
        score('drawer_open', 'drawer_closed')
        shown = colours()  # always the same, so that no score turns by chance

        def send() -> None:
            robot.senders['image'].publish(picture(robot, shown, 'rgb8'))

        robot.until(lambda: robot.knows('drawer_open'), send, limit_s=START_S)
        with LanguageClient(timeout_s=START_S) as client:
            if robot.states['drawer_open'] == State.FALSE:  # the model is not trained
                client.set(
                    [asked('drawer_open', CLOSED, OPEN), asked('drawer_closed', OPEN, CLOSED)]
                )
            client.add(asked('gripper_holding', *sides_of(client, 'drawer_open')))
        carry = py_trees.behaviours.Running('carry')
        tree = py_trees.trees.BehaviourTree(fetch(carry))
        tree.setup(node=robot, timeout_s=START_S)
        robot.until(
            lambda: tick(tree.root) and carry.status is Status.RUNNING, send, limit_s=LIMIT_S
        )
        guard = tree.root.children[-1]
        assert isinstance(guard, Guard)
        # Without evidence the predicate is UNKNOWN.
        robot.until(lambda: tick(tree.root) == [Status.FAILURE], limit_s=LIMIT_S)
        assert carry.status is Status.INVALID
        assert 'gripper_holding is UNKNOWN: image stale' in guard.feedback_message
        tree.shutdown()


def sides_of(client: LanguageClient, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    (found,) = (each for each in client.predicates() if each.name == name)
    return found.positive, found.negative


def test_setup_reports_that_no_node_publishes_states(ros_domain: int) -> None:
    condition = Condition('open')
    with pytest.raises(NotAnsweredError, match='is bringup running'):
        condition.setup(timeout_s=0.2)
    with pytest.raises(RuntimeError, match=r'tree\.setup'):
        condition.tick_once()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match='or Status'):
        Condition('open', unknown=Status.SUCCESS)
    for make in (Condition, Wait):
        with pytest.raises(ValueError, match='name of the predicate is empty'):
            make('')
    with pytest.raises(TypeError):
        Guard('open', 'no behaviour')


def test_without_py_trees_the_remedy_is_named() -> None:
    program = 'import sys; sys.modules["py_trees"] = None; import lb_ros.behaviours'
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode
    assert 'lb_ros.behaviours needs py_trees: pip install "lb_ros[behaviours]"' in done.stderr
