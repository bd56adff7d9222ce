"""A robot's sensors and ears beside a bringup in a process of its own; for tests of faults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, Imu, JointState

from encoders import State
from lb_ros.msg import AudioChunk, Embedding, PredicateStates
from lb_ros.ros.qos import LATCHED
from lb_ros.ros.stamps import to_stamp
from tests.waiting import wait_until

START_S, LIMIT_S = 120.0, 20.0
DRAIN_S, END_S = 0.5, 10.0
TOPICS = {
    'image': 'camera/image',
    'depth': 'depth/image',
    'infrared': 'infrared/image',
    'audio': 'microphone/audio',
}
TYPES = {'audio': AudioChunk, 'wrench': WrenchStamped, 'joints': JointState, 'imu': Imu}
# Deep enough for what a sensor of series sends after a pause of this process.
RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
# Any probability at all makes these TRUE or FALSE, so a state says whether there is evidence.
PREDICATE = """  {name} has evidence:
    positive: [the drawer is open]
    negative: [the drawer is closed]
    modalities: [{name}]
    threshold_on: 0.5
    threshold_off: 0.49999
    dwell_ms: 0
    max_age_ms: 800
"""
RNG = np.random.default_rng(0)


def predicates_of(names: Iterable[str]) -> str:
    """A file of predicates, one for each modality."""
    return 'predicates:\n' + ''.join(PREDICATE.format(name=name) for name in names)


class Robot(Node):
    """Publishes what it is told to, and keeps what comes back."""

    process: subprocess.Popen[str]

    def __init__(self, topics: Mapping[str, str]) -> None:
        super().__init__('robot')
        self.topics = topics
        self.senders: dict[str, Any] = {}
        for name in topics:
            self.offer(name)
        self.compressed = {
            topic: self.create_publisher(CompressedImage, topic, RELIABLE)
            for topic in ('camera/image/compressed', 'depth/image/compressedDepth')
            if topic.rpartition('/')[0] in topics.values()
        }
        self.inputs: dict[str, DiagnosticStatus] = {}
        self.logs: list[Log] = []
        self.states: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        self.heard: list[Embedding] = []
        self.create_subscription(DiagnosticArray, '/diagnostics', self._diagnostics, 10)
        self.create_subscription(Log, '/rosout', self.logs.append, 100)
        self.create_subscription(PredicateStates, 'predicates/state', self._states, LATCHED)
        for name in topics:
            self.create_subscription(
                Embedding, f'embeddings/{name}', self.heard.append, qos_profile_sensor_data
            )
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)

    def offer(self, modality: str) -> None:
        """Publish the raw messages of a sensor from now on."""
        kind = TYPES.get(modality, Image)
        self.senders[modality] = self.create_publisher(kind, self.topics[modality], RELIABLE)

    @contextmanager
    def only_compressed(self, modality: str) -> Iterator[None]:
        """Have no publisher of the raw pictures meanwhile, so that compressed ones are read."""
        self.destroy_publisher(self.senders.pop(modality))
        try:
            yield
        finally:
            self.offer(modality)

    def begin(self, process: subprocess.Popen[str]) -> None:
        """Forget what another process has said, and listen to this one."""
        ended_s = time.monotonic() + DRAIN_S  # what was sent before is read before
        self.until(lambda: time.monotonic() > ended_s, limit_s=LIMIT_S)
        for each in (self.inputs, self.logs, self.states, self.reasons, self.heard):
            each.clear()
        self.process = process

    def _diagnostics(self, message: DiagnosticArray) -> None:
        self.inputs |= {status.name: status for status in message.status}

    def _states(self, message: PredicateStates) -> None:
        self.states = {s.name.split()[0]: s.state for s in message.states}
        self.reasons = {s.name.split()[0]: s.reason for s in message.states}

    def now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def count(self, modality: str, key: str) -> int:
        status = self.inputs.get(f'/{self.topics[modality]}')
        return int(self.values(status).get(key, '0')) if status else 0

    def told(self, name: str, key: str) -> str:
        """A value of an entry of `/diagnostics`; empty where there is none."""
        status = self.inputs.get(name)
        return self.values(status).get(key, '') if status else ''

    def send(self, *modalities: str) -> None:
        for modality in modalities:
            self.senders[modality].publish(good(self, modality))

    def values(self, status: DiagnosticStatus) -> dict[str, str]:
        return {pair.key: pair.value for pair in status.values}

    def lines(self, text: str) -> list[str]:
        return [log.msg for log in self.logs if text in log.msg]

    def logged_once(self, *parts: str) -> bool:
        """Whether one line has all parts, beside those that say how many more there were."""
        lines = [line for line in self.lines(parts[0]) if all(part in line for part in parts)]
        return sum('more of the kind since' not in line for line in lines) == 1

    def knows(self, modality: str) -> bool:
        return self.states.get(modality, State.UNKNOWN) != State.UNKNOWN

    def until(
        self, holds: Callable[[], Any], send: Callable[[], None] = lambda: None, *, limit_s: float
    ) -> None:
        def meanwhile() -> None:
            send()
            self.executor_.spin_once(timeout_sec=0.05)

        wait_until(holds, limit_s=limit_s, meanwhile=meanwhile, shows=self._seen)

    def _seen(self) -> dict[str, Any]:
        diagnostics = {name: (s.level, s.message) for name, s in self.inputs.items()}
        return {'states': self.states, 'diagnostics': diagnostics}

    def call(
        self,
        kind: Any,
        name: str,
        request: Any,
        *,
        limit_s: float = START_S,
        ready_s: float = START_S,
    ) -> Any:
        """The answer of a service, which must be there within `ready_s`."""
        client = self.create_client(kind, name)
        self.until(client.service_is_ready, limit_s=ready_s)
        future = client.call_async(request)
        self.until(future.done, limit_s=limit_s)
        self.destroy_client(client)
        return future.result()


def picture(robot: Robot, array: np.ndarray, encoding: str, **changes: Any) -> Image:
    rows = array.reshape(len(array), -1)
    message = Image(encoding=encoding, height=array.shape[0], width=array.shape[1])
    message.data = rows.tobytes()
    message.step = rows.shape[1] * rows.itemsize
    message.header.stamp = to_stamp(robot.now_ns() + int(changes.pop('shift_ns', 0)))
    if changes.pop('unstamped', False):
        message.header.stamp = to_stamp(0)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def depth_mm() -> np.ndarray:
    return RNG.integers(500, 2000, (48, 64), dtype=np.uint16)


def warm() -> np.ndarray:
    return RNG.integers(29_000, 31_000, (48, 64), dtype=np.uint16)


def colours() -> np.ndarray:
    return RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8)


def good(robot: Robot, modality: str) -> Any:
    if modality == 'audio':
        return AudioChunk(
            sample_rate_hz=16_000, channels=1, samples=RNG.integers(-9, 9, 1600).astype(np.int16),
            header=picture(robot, depth_mm(), '16UC1').header,
        )  # fmt: skip
    make = {
        'image': (colours, 'rgb8'), 'depth': (depth_mm, '16UC1'), 'infrared': (warm, 'mono16')
    }[modality]  # fmt: skip
    return picture(robot, make[0](), make[1])


R = TypeVar('R', bound=Robot)


@contextmanager
def listening(
    topics: Mapping[str, str] = TOPICS, kind: Callable[[Mapping[str, str]], R] = Robot
) -> Iterator[R]:
    """A robot in the domain of the environment, with a sensor on each topic by modality.

    One for all tests of a file: with one for each of nine tests, leaving and joining the domain
    every time, this process crashed in the middleware in one of eight runs.
    """
    rclpy.init()
    robot = kind(topics)
    try:
        yield robot
    finally:
        robot.executor_.shutdown()
        robot.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def bringup(
    robot: Robot,
    model: Path | str,
    folder: Path,
    *parameters: str,
    program: str = 'from lb_ros.start import start',
    words: Sequence[str] = (),
) -> Iterator[None]:
    """A bringup in the domain of the environment, which a robot hears.

    Args:
        robot: It hears nothing else from now on.
        model: Name or folder of its model set.
        folder: Takes its file of predicates, one for each sensor.
        parameters: More of them, `name:=value`.
        program: Python that runs before the node starts; it must import `start`.
        words: Arguments for that.
    """
    predicates = folder / 'predicates.yaml'
    predicates.write_text(predicates_of(robot.topics))
    whole = f"import sys\n{program}\nstart('bringup', sys.argv[sys.argv.index('--ros-args') :])"
    command = [sys.executable, '-c', whole, *words]
    command += ['--ros-args', '-p', f'model:={model}', '-p', f'predicates:={predicates}']
    for each in ('silent_after_s:=1.0', 'max_rate_hz:=0.0', 'diagnostics_period_s:=0.1'):
        command += ['-p', each]
    command += [word for each in parameters for word in ('-p', each)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        robot.begin(process)
        yield
    finally:
        process.terminate()  # so that it leaves the domain, and nobody waits for it there
        try:
            process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_until_all_are_known(robot: Robot, *modalities: str) -> None:
    robot.until(
        lambda: all(robot.knows(name) for name in modalities),
        lambda: robot.send(*modalities),
        limit_s=START_S,
    )
