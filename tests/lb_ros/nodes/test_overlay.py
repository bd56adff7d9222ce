"""Overlays: what is drawn, that nothing is done for nobody, and scores as vision_msgs."""

from __future__ import annotations

import itertools
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from encoders import State
from lb_ros.client import LanguageClient
from lb_ros.nodes.overlay_picture import PANEL_WIDTH, Row, draw_overlay
from tests.domains import own_domain
from tests.waiting import wait_until

START_S, LIMIT_S = 120.0, 60.0
TOPIC = 'overlay/camera/image/compressed'
PREDICATES = """
predicates:
  far: {positive: [it is far]}
  near: {positive: [it is near]}
"""


@pytest.fixture(scope='module')
def robot(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running bringup with a camera, as the node of somebody who looks at it."""
    with own_domain():
        yield from run_bringup(tiny_model_set, tmp_path_factory.mktemp('overlay'))


def run_bringup(model: Path, folder: Path) -> Iterator[Node]:
    (folder / 'predicates.yaml').write_text(PREDICATES)
    parameters = {'model': model, 'predicates': folder / 'predicates.yaml'}
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.query(['are you there'])
            node = Node('viewer', context=client._listener.node.context)
            yield node
            node.destroy_node()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT_S) == 0
    finally:
        process.kill()


def film(node: Node, until: Callable[[], bool]) -> None:
    """Publish pictures of a camera, 20 a second, until something is the case."""
    camera = node.create_publisher(Image, 'camera/image', 1)
    pixels = np.full((48, 64, 3), (200, 40, 40), np.uint8).tobytes()
    message = Image(encoding='rgb8', height=48, width=64, step=192, data=pixels)
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def see() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        camera.publish(message)
        executor.spin_once(timeout_sec=0.05)

    wait_until(until, limit_s=LIMIT_S, meanwhile=see)
    executor.remove_node(node)
    node.destroy_publisher(camera)


@pytest.mark.ros
def test_an_overlay_is_made_while_somebody_watches(robot: Node) -> None:
    def listeners() -> int:
        return robot.count_subscribers('predicates/scores')

    film(robot, lambda: robot.count_publishers(TOPIC) == 1)
    assert listeners() == 0
    seen: list[CompressedImage] = []
    watching = robot.create_subscription(CompressedImage, TOPIC, seen.append, 1)
    film(robot, lambda: len(seen) > 3)
    assert listeners() == 1
    picture = cv2.imdecode(np.frombuffer(seen[-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (360, 480 + PANEL_WIDTH, 3)
    assert picture[180, 240] == pytest.approx([40, 40, 200], abs=12)  # BGR
    assert picture[:, 480:].max() > 200
    assert seen[-1].header.stamp.sec > 0 and seen[-1].format == 'jpeg'
    robot.destroy_subscription(watching)
    film(robot, lambda: listeners() == 0)


@pytest.mark.ros
def test_scores_are_told_as_a_classification_where_that_is_installed(robot: Node) -> None:
    kinds: Any = pytest.importorskip('vision_msgs.msg')
    seen: list[Any] = []
    listening = robot.create_subscription(
        kinds.Classification, 'predicates/classification', seen.append, 1
    )
    film(robot, lambda: any(message.results for message in seen))
    robot.destroy_subscription(listening)
    message = next(message for message in seen if message.results)
    assert {result.class_id for result in message.results} == {'far', 'near'}
    assert all(0 <= result.score <= 1 for result in message.results)
    assert message.header.stamp.sec > 0


@pytest.mark.parametrize('size', [(48, 64), (256, 256), (1080, 1920), (5, 4000)])
@pytest.mark.parametrize('count', [0, 1, 200])
def test_any_picture_and_any_number_of_predicates_fit(size: tuple[int, int], count: int) -> None:
    values = itertools.cycle([0.2, 1.0, math.nan])
    states = itertools.cycle([State.FALSE, State.TRUE, State.UNKNOWN])
    rows = [Row(f'{i} of ünusual length {"x" * 40}', next(values), next(states))
            for i in range(count)]  # fmt: skip
    drawn = draw_overlay(np.zeros((*size, 3), np.uint8), rows)
    assert 360 <= drawn.shape[0] <= 720 and drawn.shape[1] <= 1280 + PANEL_WIDTH
    assert drawn[:, -PANEL_WIDTH:].any()
    assert not drawn[:, :-PANEL_WIDTH].any()  # the picture itself is not written on


def test_states_and_probabilities_look_different() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    drawn = {
        (state, probability): draw_overlay(picture, [Row('it', probability, state)]).tobytes()
        for state in State
        for probability in (0.1, 0.9, math.nan)
    }
    assert len(set(drawn.values())) == len(drawn)
