"""A `predicates` process whose evidence a test chooses, without sensors and encoders."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from encoders import Binder, Predicate
from encoders.predicates.texts import text_vectors
from lb_ros.msg import Embedding
from lb_ros.ros.qos import NEWEST
from lb_ros.ros.stamps import to_stamp

START_S, LIMIT_S = 120.0, 20.0
PERIOD_S = 0.05
SIDES = ('the drawer is open',), ('the drawer is closed',)
# Any evidence at all makes these TRUE or FALSE, and without any they are UNKNOWN.
PREDICATES = f"""predicates:
  - {{name: open, positive: [{SIDES[0][0]}], negative: [{SIDES[1][0]}], modalities: [image],
     threshold_on: 0.5, threshold_off: 0.49999, dwell_ms: 0, max_age_ms: 800}}
  - {{name: closed, positive: [{SIDES[1][0]}], negative: [{SIDES[0][0]}], modalities: [image],
     threshold_on: 0.5, threshold_off: 0.49999, dwell_ms: 0, max_age_ms: 800}}
  - {{name: ajar, positive: [{SIDES[0][0]}], negative: [{SIDES[1][0]}], modalities: [image],
     threshold_on: 0.5, threshold_off: 0.49999, dwell_ms: 0, max_age_ms: 800}}
"""


class Source:
    """Publishes embeddings that show the drawer open or closed, and a clock where asked to.

    Attributes:
        shows: 1 open, -1 closed, 0 nothing is published.
        clock_s: Simulated time that is published; None for no clock.
    """

    def __init__(self, binder: Binder, *, clock_s: float | None = None) -> None:
        _, self._contrast = text_vectors(binder, Predicate('open', *SIDES))
        self._space, self._model = binder.space, binder.model
        self.shows, self.clock_s = 0, clock_s
        self.node = Node('source')
        self._publisher = self.node.create_publisher(Embedding, 'embeddings/image', NEWEST)
        self._clock = self.node.create_publisher(Clock, '/clock', 10)
        self.node.create_timer(PERIOD_S, self._publish)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _publish(self) -> None:
        now_ns = self.node.get_clock().now().nanoseconds
        if self.clock_s is not None:
            now_ns = round(self.clock_s * 1e9)
            self._clock.publish(Clock(clock=to_stamp(now_ns)))
        if self.shows:
            vector = np.asarray(self.shows * self._contrast, np.float32)
            message = Embedding(
                modality='image',
                model=self._model,
                language_space=self._space,
                vector=vector.tolist(),
            )
            message.header.stamp = to_stamp(now_ns)
            self._publisher.publish(message)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(LIMIT_S)
        self.node.destroy_node()


def start(
    program: str, model: Path, folder: Path, *parameters: str, rules: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start `predicates` or `bringup` in the domain of the environment."""
    predicates = folder / 'evidence.yaml'
    predicates.write_text(PREDICATES)
    words = ['-p', f'model:={model}', '-p', f'predicates:={predicates}']
    words += [word for each in parameters for word in ('-p', each)]
    words += [word for each in rules for word in ('-r', each)]
    command = [sys.executable, '-m', 'lb_ros.start', program, '--ros-args', *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)


@contextmanager
def running(
    program: str, model: Path, folder: Path, *parameters: str, rules: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """As `start`, and ended afterwards."""
    process = start(program, model, folder, *parameters, rules=rules)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
