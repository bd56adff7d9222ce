"""Time from sensor to score with four sensors at 10 Hz, all nodes in one process on this CPU.

The latency of a frame is the time from its stamp to the first evaluation that uses it. Camera and
depth are raw 640x480, infrared is 160x120, audio comes in chunks of 100 ms.

    python -m benchmarks.latency
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from benchmarks.environment import write_result
from encoders.predicates.score_arrays import ages_in
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import AudioChunk, Embedding, PredicateScores

RATE_HZ = 10.0
START_S = 120.0
WARM_UP_S = 3.0
STAGES = ('wait_ms', 'decode_ms', 'preprocess_ms', 'encode_ms')


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seconds', type=float, default=60.0)
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '71'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    nodes = subprocess.Popen(
        [*command, '-p', f'model:={args.model}'], stdout=subprocess.PIPE, text=True
    )
    try:
        measured = measure(args.seconds)
        nodes.send_signal(signal.SIGINT)
        output, _ = nodes.communicate(timeout=START_S)
    finally:
        nodes.kill()
    counters = json.loads(output.splitlines()[-1])['counters']
    result = {'model': args.model, 'rate_hz': RATE_HZ, **measured, 'counters': counters}
    path = write_result('latency', result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')


def measure(seconds: float) -> dict[str, Any]:
    """Publish sensors and collect the latencies of all used frames."""
    use_dds_profile(sends_images=True)
    rclpy.init()
    robot = Robot()
    limit_s = time.monotonic() + START_S
    while not robot.latencies_ms:
        if time.monotonic() > limit_s:
            raise TimeoutError(f'no scores within {START_S} s')
        robot.sense()
        robot.listen_until(time.monotonic() + 1 / RATE_HZ)
    start_s = time.monotonic()
    sent = 0
    while (due_s := start_s + sent / RATE_HZ) < start_s + WARM_UP_S + seconds:
        robot.listen_until(due_s)
        if sent == round(WARM_UP_S * RATE_HZ):
            robot.forget()
        robot.sense()
        sent += 1
    robot.listen_until(time.monotonic() + 1.0)
    robot.node.destroy_node()
    rclpy.shutdown()
    return robot.summary()


class Robot:
    """Publisher of four sensors, and subscriber to the results.

    Args:
        rate_hz: Frames per second of every sensor.
        more: Further frames by topic.
        felt: Modalities that other processes publish.
    """

    def __init__(
        self,
        *,
        rate_hz: float = RATE_HZ,
        more: Mapping[str, Image] | None = None,
        felt: Sequence[str] = (),
    ) -> None:
        self.node = rclpy.create_node('robot')
        self.rate_hz = rate_hz
        random = np.random.default_rng(0)
        self.frames = {
            'camera/image': _image(random.integers(0, 255, (480, 640, 3), np.uint8)),
            'depth/image': _image(random.integers(400, 3000, (480, 640), np.uint16)),
            'infrared/image': _image(random.integers(29_000, 31_000, (120, 160), np.uint16)),
            'microphone/audio': AudioChunk(
                sample_rate_hz=16_000,
                channels=1,
                samples=random.integers(-999, 999, round(16_000 / rate_hz), np.int16),
            ),
            **(more or {}),
        }
        self.frames['depth/image'].encoding = '16UC1'
        self.publishers = {
            topic: self.node.create_publisher(type(frame), topic, qos_profile_sensor_data)
            for topic, frame in self.frames.items()
        }
        self.node.create_subscription(PredicateScores, 'predicates/scores', self._scores, 50)
        for name in ('image', 'depth', 'infrared', 'audio', *felt):
            self.node.create_subscription(
                Embedding, f'embeddings/{name}', self._embedding, qos_profile_sensor_data
            )
        self.newest_ms: dict[str, float] = {}
        self.forget()

    def forget(self) -> None:
        """Discard all measurements."""
        self.latencies_ms: dict[str, list[float]] = defaultdict(list)
        self.stages: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.stepped_back = 0

    def sense(self) -> None:
        """Publish one frame of every sensor."""
        now_ns = self.node.get_clock().now().nanoseconds
        for topic, frame in self.frames.items():
            # A chunk of audio has the stamp of its first sample and is sent after its last.
            age_ns = round(1e9 / self.rate_hz) if topic == 'microphone/audio' else 0
            stamp_ns = now_ns - age_ns
            frame.header.stamp.sec = stamp_ns // 10**9
            frame.header.stamp.nanosec = stamp_ns % 10**9
            self.publishers[topic].publish(frame)

    def listen_until(self, due_s: float) -> None:
        """Receive messages until a monotonic time."""
        while (left_s := due_s - time.monotonic()) > 0:
            rclpy.spin_once(self.node, timeout_sec=left_s)

    def _scores(self, message: PredicateScores) -> None:
        stamp = message.header.stamp
        evaluated_ms = stamp.sec * 1e3 + stamp.nanosec * 1e-6 + message.latency_ms
        for modality, age_ms in ages_in(message).items():
            sensed_ms, before_ms = evaluated_ms - age_ms, self.newest_ms.get(modality, 0.0)
            if sensed_ms > before_ms + 1.0:
                self.latencies_ms[modality].append(age_ms)
            self.stepped_back += sensed_ms < before_ms - 1.0
            self.newest_ms[modality] = max(sensed_ms, before_ms)

    def _embedding(self, message: Embedding) -> None:
        for stage in STAGES:
            self.stages[message.modality][stage].append(getattr(message, stage))

    def summary(self) -> dict[str, Any]:
        """Measurements since `forget`."""
        everything = [v for values in self.latencies_ms.values() for v in values]
        return {
            'latency_ms': _percentiles(everything),
            'latency_ms_by_modality': {
                m: {**_percentiles(v), 'frames': len(v)} for m, v in self.latencies_ms.items()
            },
            'stage_ms_median': {
                m: {stage: round(median(v), 2) for stage, v in stages.items()}
                for m, stages in self.stages.items()
            },
            'older_evidence_after_newer': self.stepped_back,
        }


def _image(pixels: np.ndarray) -> Image:
    encoding = 'rgb8' if pixels.ndim == 3 else 'mono16'
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return Image(encoding=encoding, height=height, width=width, step=step, data=pixels.tobytes())


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f'p{q}': round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)}


if __name__ == '__main__':
    main()
