"""The condition of docs/predicates.md, in a tree that looks at a running bringup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy')
py_trees = pytest.importorskip('py_trees', reason='pip install py_trees')

from encoders import Predicate  # noqa: E402
from lb_ros.client import LanguageClient  # noqa: E402
from tests.lb_ros.robot import LIMIT_S, START_S, bringup, listening  # noqa: E402

pytestmark = pytest.mark.ros

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'predicates.md'
OPEN, CLOSED = ('the drawer is open',), ('the drawer is closed',)


def documented() -> Any:
    """The class `Holds` as it is written there."""
    (code,) = re.findall(r'```python\n(import py_trees\n.*?)```', DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), 'exec'), names)
    return names['Holds']


def asked(name: str, *sides: tuple[str, ...]) -> Predicate:
    limits = {'threshold_on': 0.5, 'threshold_off': 0.5, 'dwell_ms': 0.0, 'max_age_ms': 800.0}
    return Predicate(name, *sides, modalities=('image',), **limits)


def test_a_tree_waits_for_a_sensor_and_then_knows(
    tiny_model_set: Path, tmp_path: Path, ros_domain: int
) -> None:
    holds = documented()
    both = py_trees.composites.Parallel(
        'both',
        py_trees.common.ParallelPolicy.SuccessOnOne(),
        children=[holds('open'), holds('closed')],
    )
    tree = py_trees.trees.BehaviourTree(both)

    def statuses() -> list[str]:
        tree.tick()
        return [child.status.name for child in both.children]

    one = 'modalities:=[image]'
    with listening() as robot, bringup(robot, tiny_model_set, tmp_path, one):
        with LanguageClient(timeout_s=START_S) as client:
            # One and its opposite, so that any evidence makes one true and the other false.
            client.set([asked('open', OPEN, CLOSED), asked('closed', CLOSED, OPEN)])
        tree.setup(node=robot, timeout=START_S)
        robot.until(lambda: statuses() == ['RUNNING', 'RUNNING'], limit_s=LIMIT_S)
        robot.until(
            lambda: sorted(statuses()) == ['FAILURE', 'SUCCESS'],
            lambda: robot.send('image'),
            limit_s=LIMIT_S,
        )
        robot.until(lambda: statuses() == ['RUNNING', 'RUNNING'], limit_s=LIMIT_S)
        assert 'image stale' in both.children[0].feedback_message
        unheard_of = holds('never heard of')
        unheard_of.setup(node=robot)
        unheard_of.tick_once()
        assert unheard_of.status is py_trees.common.Status.FAILURE
        assert 'never heard of' in unheard_of.feedback_message
        unheard_of.shutdown()
        tree.shutdown()
