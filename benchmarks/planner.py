"""Delays for a planner: evidence to `wait_until`, loading a model, adding a thousand predicates.

All nodes run in one process, with camera, depth and infrared at 10 Hz; the client is another
process. The brightness of the camera image switches a predicate between true and false.

    python -m benchmarks.planner
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from benchmarks.environment import write_result
from encoders import Binder, Line, Predicate, State
from encoders.predicates.texts import text_vectors
from lb_ros.client import LanguageClient
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import Embedding, PredicateScores
from lb_ros.ros.stamps import to_ns

RATE_HZ = 10.0
START_S = 180.0
GREYS = {State.FALSE: 30, State.TRUE: 220}
MANY = 1000
QUIET_S = 10.0


class Sensors:
    """Publisher of three sensors at a fixed rate, and subscriber to the camera's results."""

    def __init__(self) -> None:
        self.node = Node('sensors')
        self.grey, self.sent = GREYS[State.FALSE], 0
        self.heard: list[tuple[float, Embedding]] = []
        self.scores: list[PredicateScores] = []
        self._publishers = {
            topic: self.node.create_publisher(Image, topic, qos_profile_sensor_data)
            for topic in ('camera/image', 'depth/image', 'infrared/image')
        }
        self.node.create_subscription(
            Embedding, 'embeddings/image', self._hear, qos_profile_sensor_data
        )
        self.node.create_subscription(PredicateScores, 'predicates/scores', self._score, 10)
        self.node.create_timer(1 / RATE_HZ, self._see)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        threading.Thread(target=self._executor.spin, daemon=True).start()

    def _hear(self, message: Embedding) -> None:
        self.heard.append((time.monotonic(), message))

    def _score(self, message: PredicateScores) -> None:
        self.scores.append(message)

    def heard_after(self, stamp_ns: int) -> float:
        """Monotonic time at which the first embedding of a later image arrived."""
        limit_s = time.monotonic() + 30.0
        while time.monotonic() < limit_s:
            for arrived_s, message in list(self.heard):
                if to_ns(message.header.stamp) > stamp_ns:
                    return arrived_s
            time.sleep(0.005)
        raise TimeoutError('no embedding within 30 s')

    def _see(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        for topic, publisher in self._publishers.items():
            message = _image(topic, self.grey)
            message.header.stamp = stamp
            publisher.publish(message)
        self.sent += 1


def _image(topic: str, grey: int) -> Image:
    if topic.startswith('camera'):
        pixels, encoding = picture(grey), 'rgb8'
    elif topic.startswith('depth'):
        pixels, encoding = np.full((480, 640), 900, np.uint16), '16UC1'
    else:
        pixels, encoding = np.full((120, 160), 29_500, np.uint16), 'mono16'
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return Image(encoding=encoding, height=height, width=width, step=step, data=pixels.tobytes())


def picture(grey: int) -> np.ndarray:
    """A uniform grey image, uint8 `[480, 640, 3]`."""
    return np.full((480, 640, 3), grey, np.uint8)


def bright(binder: Binder, *, dwell_ms: float) -> Predicate:
    """Create a predicate that is calibrated on a dark and a bright image."""
    asked = Predicate('bright', ('the room is bright',), ('the room is dark',))
    _, contrast = text_vectors(binder, asked)
    dark, light = (
        float(binder.embed(image=picture(grey))['image'][0] @ contrast) for grey in GREYS.values()
    )
    slope = 8.0 / (light - dark)
    return Predicate(
        asked.name,
        asked.positive,
        asked.negative,
        modalities=('image',),
        dwell_ms=dwell_ms,
        calibration={'image': Line(slope, -slope * (light + dark) / 2)},
        calibration_space=binder.space,
    )


def waiting_ms(client: LanguageClient, sensors: Sensors, turns: int) -> list[float]:
    """Times from the first embedding of a changed state to the return of `wait_until`.

    Negative if the answer arrived before the embedding, which is published on another topic.
    """
    delays = []
    for turn in range(turns):
        wanted = State.FALSE if turn % 2 else State.TRUE
        changed_ns = sensors.node.get_clock().now().nanoseconds
        sensors.grey = GREYS[wanted]
        if not client.wait_until('bright', state=wanted, timeout_s=30.0):
            raise TimeoutError(f'not {wanted.name} within 30 s')
        returned_s = time.monotonic()
        delays.append((returned_s - sensors.heard_after(changed_ns)) * 1e3)
    return delays


def missed(sensors: Sensors, work: Callable[[], object]) -> dict[str, Any]:
    """Number of camera frames sent and missed while `work` runs."""
    sent, heard = sensors.sent, len(sensors.heard)
    started_s = time.monotonic()
    work()
    took_s = time.monotonic() - started_s
    sent = sensors.sent - sent
    time.sleep(1.0)  # waits for the last frames
    found = sum(s < started_s + took_s + 1 / RATE_HZ for s, _ in sensors.heard[heard:])
    return {
        'seconds': round(took_s, 2),
        'frames_sent': sent,
        'frames_missed': max(0, sent - found),
    }


def adding(client: LanguageClient, sensors: Sensors) -> dict[str, Any]:
    """Add a thousand predicates and count the camera frames meanwhile."""
    many = [
        Predicate(f'fact {n}', (f'there are {n} cups',), (f'there are not {n} cups',))
        for n in range(MANY)
    ]
    result = missed(sensors, lambda: client.add(*many))
    sensors.scores.clear()
    time.sleep(2.0)
    result['score_ms_with_all'] = round(median(s.score_ms for s in list(sensors.scores)), 2)
    client.remove(*(p.name for p in many))
    return result


def swapping(client: LanguageClient, sensors: Sensors, model: str) -> dict[str, Any]:
    """Load the model set again under load and measure gaps."""
    sensors.scores.clear()
    before = len(sensors.heard)
    started_s = time.monotonic()
    space = client.load_model(model, timeout_s=START_S)
    took_s = time.monotonic() - started_s
    time.sleep(2.0)
    arrivals = [s for s, _ in sensors.heard[before:]]
    return {
        'seconds': round(took_s, 2),
        'longest_gap_of_embeddings_ms': round(float(np.diff(arrivals).max()) * 1e3, 1),
        'scores': len(sensors.scores),
        'scores_of_another_space': sum(s.language_space != space for s in sensors.scores),
    }


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--turns', type=int, default=40)
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '72'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    load = os.getloadavg()[0]
    binder = Binder.load(args.model)
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    nodes = subprocess.Popen(
        [*command, '-p', f'model:={args.model}'], stdout=subprocess.PIPE, text=True
    )
    use_dds_profile()
    rclpy.init()
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.predicates()
            sensors = Sensors()
            result: dict[str, Any] = {'model': args.model, 'load_before': round(load, 1)}
            for dwell_ms in (0.0, 150.0):
                client.set([bright(binder, dwell_ms=dwell_ms)])
                delays = waiting_ms(client, sensors, args.turns)
                result[f'wait_until_ms_dwell_{dwell_ms:.0f}'] = {
                    f'p{q}': round(float(np.percentile(delays, q)), 1) for q in (50, 95, 99)
                } | {'turns': args.turns}
            client.add('the drawer is open')  # uses all sensors, so that all are encoded
            result['nothing'] = missed(sensors, lambda: time.sleep(QUIET_S))
            result['load_model'] = swapping(client, sensors, args.model)
            write_result('planner', result)  # the next step takes minutes on a busy machine
            result['add_1000_predicates'] = adding(client, sensors)
        nodes.send_signal(signal.SIGINT)
        output, _ = nodes.communicate(timeout=START_S)
        result['counters'] = json.loads(output.splitlines()[-1])['counters']
    finally:
        nodes.kill()
        rclpy.try_shutdown()
    path = write_result('planner', result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')


if __name__ == '__main__':
    main()
