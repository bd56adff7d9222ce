"""Overlays that show where a readout looks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import CompressedImage

from tests.domains import own_domain
from tests.lb_ros.nodes.test_overlay import LIMIT_S, TOPIC, film, run_bringup
from tests.readouts import copy_with_readouts

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def model(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with a readout of images."""
    folder = tmp_path_factory.mktemp('attention') / 'read'
    return copy_with_readouts(tiny_model_set, folder, modalities=['image'])


@pytest.fixture(scope='module')
def robot(model: Path) -> Iterator[Node]:
    """A running bringup, as the node of a viewer."""
    with own_domain():
        yield from run_bringup(model, model.parent)


def test_an_overlay_shows_the_attention_to_the_chosen_predicate(robot: Node) -> None:
    seen: list[np.ndarray] = []

    def show(message: CompressedImage) -> None:
        seen.append(cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR))

    watching = robot.create_subscription(CompressedImage, TOPIC, show, 1)
    parameters = AsyncParameterClient(robot, 'bringup')

    def choose(why: str) -> None:
        asked = parameters.set_parameters([Parameter('overlay_why', value=why)])
        film(robot, asked.done)
        assert all(result.successful for result in asked.result().results)

    # The camera shows one colour; under the attention the image is grey but for the heat.
    assert_seen(robot, seen, lambda picture: is_red(picture).all())
    choose('far')
    assert_seen(robot, seen, lambda picture: not is_red(picture).any() and heat(picture) > 0.01)
    choose('the cup is on the plate')
    assert_seen(robot, seen, lambda picture: heat(picture) > 0.01)
    choose('')
    assert_seen(robot, seen, lambda picture: is_red(picture).all())
    robot.destroy_subscription(watching)


def test_the_dashboard_of_a_robot_explains_predicates_and_questions(
    robot: Node, model: Path
) -> None:
    command = [sys.executable, '-m', 'lb_ros.cli', 'dashboard', '--port', '0']
    command += ['--model', str(model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]

        def get(path: str) -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(f'{url}{path}', timeout=LIMIT_S) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()
            except urllib.error.URLError:  # the server does not listen yet
                return 0, b'{"why": []}'

        def can_explain() -> bool:
            return json.loads(get('api/updates?since=0')[1])['why'] == ['image']

        film(robot, can_explain)
        for name in ('far', 'the%20cup%20is%20on%20the%20plate'):
            film(robot, lambda name=name: get(f'api/why/image?name={name}')[0] == 200)
            status, jpeg = get(f'api/why/image?name={name}')
            shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
            assert status == 200 and not is_red(shown).any() and heat(shown) > 0.01
        assert get('api/why/depth?name=far')[0] == 422
        # Questions are read from tokens, which are subscribed to only for them.
        assert robot.count_subscribers('evidence/image') == 0
        body = json.dumps({'sentence': 'it is near'}).encode()
        asked = urllib.request.Request(
            f'{url}api/ask', data=body, headers={'Content-Type': 'application/json'}
        )
        urllib.request.urlopen(asked, timeout=LIMIT_S).close()
        film(robot, lambda: robot.count_subscribers('evidence/image') == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130  # as after Ctrl-C
    finally:
        process.kill()
        process.wait()


def assert_seen(robot: Node, seen: list[np.ndarray], holds: Callable[[np.ndarray], bool]) -> None:
    """Film until an overlay has the property, of those that arrive from now on."""
    seen.clear()
    film(robot, lambda: bool(seen) and bool(holds(seen[-1][20:-20, 20:460].astype(int))))


def is_red(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture - (40, 40, 200)).max(axis=2) < 24


def heat(picture: np.ndarray) -> float:
    """Share of coloured pixels."""
    return float((np.ptp(picture, axis=2) > 40).mean())
