"""All of it through real processes: predicates, waiting, a dead sensor, a new model, a bag."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from encoders import Binder, Predicate, State
from encoders.model_sets.calibration import Calibration
from encoders.predicates.texts import text_vectors
from encoders.shipped import shipped
from lb_ros.client import LanguageClient, PredicateStatus
from lb_ros.msg import Embedding, PredicateScores
from lb_ros.ros.stamps import to_ns
from tests.domains import own_domain
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0
MAX_AGE_MS = 600.0
RATE_HZ = 10.0
DARK, BRIGHT = 30, 220


class Camera:
    """Publishes images at a steady rate on a thread of its own, and hears what becomes of them."""

    def __init__(self) -> None:
        self.node = Node('camera')
        self.grey, self.sent, self.on = DARK, 0, True
        self.heard: list[Embedding] = []
        self.scores: list[PredicateScores] = []
        self._publisher = self.node.create_publisher(
            Image, 'camera/image', qos_profile_sensor_data
        )
        self.node.create_subscription(
            Embedding, 'embeddings/image', self.heard.append, qos_profile_sensor_data
        )
        self.node.create_subscription(
            PredicateScores, 'predicates/scores', self.scores.append, 100
        )
        self.node.create_timer(1 / RATE_HZ, self._see)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _see(self) -> None:
        if not self.on:
            return
        pixels = np.full((48, 64, 3), self.grey, np.uint8)
        message = Image(encoding='rgb8', height=48, width=64, step=192, data=pixels.tobytes())
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self.sent += 1

    def first_after(self, stamp_ns: int) -> Embedding:
        def found() -> list[Embedding]:
            return [e for e in list(self.heard) if to_ns(e.header.stamp) > stamp_ns]

        wait_until(found)
        return found()[0]

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(LIMIT_S)
        self.node.destroy_node()


def bright() -> Predicate:
    return Predicate(
        'bright',
        ('the room is bright',),
        ('the room is dark',),
        dwell_ms=0.0,
        max_age_ms=MAX_AGE_MS,
    )


@pytest.fixture(scope='module')
def model(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained set, calibrated so that it tells a bright picture from a dark one."""
    folder = tmp_path_factory.mktemp('calibrated') / 'tiny'
    shutil.copytree(tiny_model_set, folder)
    binder = Binder.load(folder)
    _, contrast = text_vectors(binder, bright())
    dark, light = (
        float(binder.embed(image=np.full((48, 64, 3), grey, np.uint8))['image'][0] @ contrast)
        for grey in (DARK, BRIGHT)
    )
    slope = 8.0 / (light - dark)
    Calibration(
        space=binder.space,
        names=('bright',),
        modalities=('image',),
        contrasts=contrast[None],
        slopes=np.array([[slope]], np.float32),
        offsets=np.array([[-slope * (light + dark) / 2]], np.float32),
        weights=np.ones((1, 1), np.float32),
    ).save(folder)
    return folder


@pytest.fixture(scope='module')
def nodes(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    with own_domain():
        command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
        command += ['-p', f'model:={model}', '-p', 'modalities:=[image,depth]']
        command += ['-p', f'model_root:={tmp_path_factory.getbasetemp()}']
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        yield process
        process.kill()
        process.communicate()


@pytest.fixture(scope='module')
def client(nodes: subprocess.Popen[str]) -> Iterator[LanguageClient]:
    with LanguageClient(timeout_s=START_S) as found:
        found.predicates()
        yield found


@pytest.fixture(scope='module')
def camera(client: LanguageClient) -> Iterator[Camera]:
    found = Camera()
    yield found
    found.close()


def test_waiting_ends_soon_after_the_evidence(client: LanguageClient, camera: Camera) -> None:
    assert client.set([bright()]) == ['bright']
    delays_s = []
    for turn in range(6):
        wanted = State.FALSE if turn % 2 else State.TRUE
        camera.heard.clear()
        camera.grey = DARK if turn % 2 else BRIGHT
        began_ns = camera.node.get_clock().now().nanoseconds
        assert client.wait_until('bright', state=wanted, timeout_s=LIMIT_S)
        returned_s = time.monotonic()
        first = camera.first_after(began_ns)
        now_ns = camera.node.get_clock().now().nanoseconds
        sensed_s = time.monotonic() - (now_ns - to_ns(first.header.stamp)) * 1e-9
        delays_s.append(returned_s - sensed_s)
    # From the sensor on, on a machine that may be busy; the benchmark has the 300 ms.
    assert np.median(delays_s) < 1.5


def test_a_dead_sensor_makes_its_predicates_unknown(
    client: LanguageClient, camera: Camera
) -> None:
    assert client.wait_until('bright', state=State.FALSE, timeout_s=LIMIT_S)
    heard: list[PredicateStatus] = []
    watch = client.watch(lambda states: heard.append(states['bright']))
    camera.on = False
    assert client.wait_until('bright', state=State.UNKNOWN, timeout_s=LIMIT_S)
    wait_until(lambda: heard and heard[-1].state is State.UNKNOWN)
    status = heard[-1]
    assert 'image stale' in status.reason
    last_s = to_ns(camera.heard[-1].header.stamp) * 1e-9
    # A busy machine may evaluate two seconds late.
    assert MAX_AGE_MS * 1e-3 <= status.since_s - last_s < MAX_AGE_MS * 1e-3 + 2.0
    watch.close()
    camera.on = True
    assert client.wait_until('bright', state=State.FALSE, timeout_s=LIMIT_S)


def test_a_new_model_under_load_never_mixes_spaces(
    client: LanguageClient, camera: Camera, other_space: Path, model: Path
) -> None:
    camera.scores.clear()
    camera.heard.clear()
    first = Binder.load(model).space
    second = client.load_model(str(other_space))
    assert second != first
    with pytest.raises(RuntimeError, match='no model set'):
        client.load_model('nonsense')
    with pytest.raises(RuntimeError, match='model_root'):
        client.load_model('/etc')
    wait_until(lambda: camera.scores[-1].language_space == second)
    assert client.load_model(str(model)) == first
    wait_until(lambda: camera.scores[-1].language_space == first)
    assert client.wait_until('bright', state=State.FALSE, timeout_s=LIMIT_S)
    # Every score names the space of evidence that was made in it, never before its model was.
    made = {to_ns(e.header.stamp): e.language_space for e in camera.heard}
    seen = [(m.language_space, made.get(to_ns(m.header.stamp))) for m in camera.scores]
    assert {space for space, _ in seen} == {first, second}
    assert all(evidence in (None, space) for space, evidence in seen)
    assert sum(evidence is not None for _, evidence in seen) > len(seen) / 2


@pytest.mark.slow
def test_a_thousand_predicates_are_added_without_missing_a_frame(
    client: LanguageClient, camera: Camera
) -> None:
    client.set([bright()])
    wait_until(lambda: camera.heard)
    camera.heard.clear()
    sent = camera.sent
    many = [
        Predicate(f'fact {n}', (f'there are {n} cups',), (f'there are not {n} cups',))
        for n in range(1000)
    ]
    client.timeout_s = START_S
    assert len(client.add(*many)) == 1001
    sent = camera.sent - sent
    assert client.wait_until('bright', state=State.FALSE, timeout_s=LIMIT_S)
    # Embeddings travel as best effort; all but those still on their way must be there.
    wait_until(lambda: len(camera.heard) >= sent - 1)
    assert len(client.remove(*(p.name for p in many))) == 1


def test_the_shipped_bag_plays_and_its_sentences_are_answered(client: LanguageClient) -> None:
    player = [sys.executable, '-m', 'lb_ros.demo.bag_player', str(shipped('lb_ros/data/demo_bag'))]
    process = subprocess.Popen(
        [*player, '--rate', '10', '--wait', '3'], stdout=subprocess.PIPE, text=True
    )
    answered: set[str] = set()
    try:
        limit_s = time.monotonic() + LIMIT_S
        while answered != {'image', 'depth'}:
            assert time.monotonic() < limit_s, answered
            found = client.query('the drawer is open')[0]
            answered |= {m for m, p in found.probability.items() if p is not None}
        output, _ = process.communicate(timeout=LIMIT_S)
        assert json.loads(output.splitlines()[-1])['published']['depth/image/compressedDepth'] > 0
    finally:
        process.kill()


def test_every_frame_is_accounted_for(nodes: subprocess.Popen[str], client: object) -> None:
    nodes.send_signal(signal.SIGINT)
    output, _ = nodes.communicate(timeout=LIMIT_S)
    assert nodes.returncode == 0
    counters = json.loads(output.splitlines()[-1])['counters']
    for count in counters.values():
        ended = sum(count.values()) - count['received']
        assert count['received'] - ended in (0, 1)
