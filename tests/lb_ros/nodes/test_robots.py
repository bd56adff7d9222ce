"""Several robots in one graph, several cameras on one trunk, nodes in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from encoders import Binder, State
from encoders.model_sets.convert import convert
from lb_ros.client import LanguageClient, NotAnsweredError
from lb_ros.msg import Embedding, PredicateScores
from tests.domains import own_domain
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0
RATE_HZ = 10.0
LEFT, RIGHT = 'left/image', 'right/image'


class Ears:
    """Hears what a robot's nodes publish, and sees for it where it has cameras."""

    def __init__(self, namespace: str, cameras: tuple[str, ...] = ()) -> None:
        self.node = Node('ears', namespace=namespace)
        self.embeddings: list[Embedding] = []
        self.scores: list[PredicateScores] = []
        for name in ('image', 'depth'):
            self.node.create_subscription(
                Embedding,
                f'embeddings/{name}',
                self.embeddings.append,
                qos_profile_sensor_data,
            )
        self.node.create_subscription(
            PredicateScores, 'predicates/scores', self.scores.append, 100
        )
        self._cameras = [
            self.node.create_publisher(Image, topic, qos_profile_sensor_data) for topic in cameras
        ]
        self.node.create_timer(1 / RATE_HZ, self._see)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _see(self) -> None:
        pixels = np.full((48, 64, 3), 90, np.uint8)
        for camera in self._cameras:
            message = Image(encoding='rgb8', height=48, width=64, step=192, data=pixels.tobytes())
            message.header.stamp = self.node.get_clock().now().to_msg()
            camera.publish(message)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(LIMIT_S)
        self.node.destroy_node()


def started(name: str, namespace: str, *parameters: str) -> subprocess.Popen[bytes]:
    words = ['--ros-args', '-r', f'__ns:=/{namespace}']
    words += [word for each in parameters for word in ('-p', each)]
    return subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.start', name, *words], stdout=subprocess.DEVNULL
    )


@pytest.fixture(scope='module')
def domain() -> Iterator[None]:
    with own_domain():
        yield


@pytest.fixture
def two_robots(domain: None, tiny_model_set: Path) -> Iterator[None]:
    common = (f'model:={tiny_model_set}', 'modalities:=[image]')
    processes = [
        started('bringup', 'one', *common, f'camera_inputs:=[{LEFT}, {RIGHT}]'),
        started('bringup', 'two', *common),
    ]
    yield
    for process in processes:
        process.kill()
        process.wait()


def test_nothing_of_a_robot_reaches_the_other_one(
    two_robots: None, other_space: Path, tiny_model_set: Path
) -> None:
    with (
        LanguageClient(namespace='one', timeout_s=START_S) as one,
        LanguageClient(namespace='two', timeout_s=START_S) as two,
    ):
        assert one.set(['the door is open']) == ['the door is open']
        assert two.set(['the lamp is on']) == ['the lamp is on']
        first, second = Ears('one', (LEFT, RIGHT)), Ears('two')
        try:
            # Two cameras of a robot share the trunk; each embedding says which one saw it.
            wait_until(
                lambda: {e.source for e in first.embeddings} == {f'/one/{LEFT}', f'/one/{RIGHT}'}
            )
            wait_until(lambda: len(first.scores) > 3)
            assert first.scores[-1].scores[0].modalities == ['image']
            assert [p.name for p in one.predicates()] == ['the door is open']
            assert [p.name for p in two.predicates()] == ['the lamp is on']
            assert set(one.states()) == {'the door is open'}
            assert two.states()['the lamp is on'].state is State.UNKNOWN
            assert two.query('the door is open')[0].probability['image'] is None
            assert not second.embeddings
            before = Binder.load(tiny_model_set).space
            assert one.load_model(str(other_space)) != before
            assert not second.embeddings
            seeing = Ears('two', ('camera/image',))
            wait_until(lambda: second.embeddings)
            seeing.close()
            assert {e.language_space for e in second.embeddings} == {before}
            assert {e.source for e in second.embeddings} == {'/two/camera/image'}
            assert all(e.source.startswith('/one/') for e in first.embeddings)
        finally:
            first.close()
            second.close()


@pytest.fixture
def apart(domain: None, tiny_model_set: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    names = ('camera_encoder', 'depth_encoder', 'predicates')
    processes = [started(name, 'apart', f'model:={tiny_model_set}') for name in names]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_encoders_in_processes_of_their_own_follow_a_new_model_or_all_keep_the_old(
    apart: list[subprocess.Popen[bytes]],
    tiny_model_set: Path,
    other_space: Path,
    other_parts: dict[str, Path],
    tmp_path: Path,
) -> None:
    images_only = convert({'image': other_parts['image']}, tmp_path / 'images', name='images')
    with LanguageClient(namespace='apart', timeout_s=START_S) as client:
        client.set(['the door is open'])
        ears = Ears('apart', ('camera/image',))
        try:
            wait_until(lambda: ears.scores and ears.embeddings)
            service = '/apart/depth_encoder/load_model'
            wait_until(lambda: service in dict(ears.node.get_service_names_and_types()))
            first = Binder.load(tiny_model_set).space
            second = client.load_model(str(other_space))
            assert second != first
            wait_until(lambda: ears.scores[-1].language_space == second)
            wait_until(lambda: ears.embeddings[-1].language_space == second)
            ears.scores.clear()
            with pytest.raises(
                NotAnsweredError, match=r"depth_encoder: .* no encoder for 'depth'"
            ):
                client.load_model(str(images_only))
            wait_until(lambda: ears.scores)
            assert {s.language_space for s in ears.scores} == {second}
            assert client.load_model(str(tiny_model_set)) == first
            wait_until(lambda: ears.scores[-1].language_space == first)
            made = {e.header.stamp.nanosec: e.language_space for e in ears.embeddings}
            for scored in ears.scores:
                evidence = made.get(scored.header.stamp.nanosec)
                assert evidence in (None, scored.language_space)
        finally:
            ears.close()
