"""The reason why evidence does not count, between an encoder and `predicates` of two processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders import State
from lb_ros.msg import PredicateScores
from lb_ros.srv import QueryText
from tests.lb_ros.robot import (
    END_S,
    RNG,
    START_S,
    TOPICS,
    Robot,
    listening,
    picture,
    predicates_of,
)

pytestmark = pytest.mark.ros
REASON = 'infrared: 8-bit picture, not a temperature'


@pytest.fixture
def robot(tiny_model_set: Path, tmp_path: Path, ros_domain: int) -> Iterator[Robot]:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(predicates_of(TOPICS))
    words = ['--ros-args', '-p', f'model:={tiny_model_set}', '-p', f'predicates:={predicates}']
    with listening() as node:
        processes = [
            subprocess.Popen([sys.executable, '-m', 'lb_ros.start', name, *words])
            for name in ('infrared_encoder', 'predicates')
        ]
        try:
            yield node
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def test_the_reason_travels_with_the_embedding(robot: Robot) -> None:
    scores: list[PredicateScores] = []
    robot.create_subscription(PredicateScores, 'predicates/scores', scores.append, 10)

    def grey() -> None:
        pixels = RNG.integers(0, 255, (48, 64), np.uint8)
        robot.senders['infrared'].publish(picture(robot, pixels, 'mono8'))

    robot.until(
        lambda: scores and any(REASON in s.reasons for s in scores[-1].scores), grey,
        limit_s=START_S,
    )  # fmt: skip
    (score,) = [s for s in scores[-1].scores if s.name.startswith('infrared')]
    assert np.isnan(score.probability) and not score.calibrated
    assert list(score.probabilities) == [0.5]
    assert robot.states.get('infrared', State.UNKNOWN) == State.UNKNOWN
    # The latched states also have it, although none of them has changed.
    robot.until(lambda: REASON in robot.reasons.get('infrared', ''), grey, limit_s=START_S)
    grey()
    request = QueryText.Request(
        texts=['the stove is hot'], modalities=['infrared'], max_age_ms=1e6
    )
    found = robot.call(QueryText, 'query', request)
    assert found.success and list(found.reasons) == [REASON]
    assert np.isnan(found.fused[0])
    robot.until(lambda: robot.knows('infrared'), lambda: robot.send('infrared'), limit_s=START_S)
