"""Benchmarks over DDS, with sensors and nodes in separate processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from encoders import Binder, decode_image
from encoders.model_sets.sources import parse_source
from encoders.predicates.score_arrays import ages_in
from lb_ros.bench.measure import Measurement
from lb_ros.bench.sender import TOPICS
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.ros.qos import LATCHED, NEWEST
from lb_ros.ros.stamps import to_ns

START_S = 120.0
RATE_HZ = 30.0
# Number of first frames that do not count, because of discovery and cold caches.
WARM_UP_FRAMES = 30
DEPTH_SIZE = (1280, 720)
IDLE_S = 15.0


def messages(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure a 1280x720 depth image from another process, from its stamp to the network's input.

    `repeats` images count. CPU time is that of the receiving process.
    """
    encoder = Binder.load(parse_source(model), modalities=('depth',))
    arrived_ms: list[float] = []
    tensor_ms: list[float] = []
    cpu_s: list[float] = []
    with _node() as node:

        def take(message: Image) -> None:
            stamp_ns = to_ns(message.header.stamp)
            arrived_ms.append((node.get_clock().now().nanoseconds - stamp_ns) * 1e-6)
            encoder.preprocess('depth', decode_image(message, modality='depth').array)
            tensor_ms.append((node.get_clock().now().nanoseconds - stamp_ns) * 1e-6)
            cpu_s.append(time.process_time())

        node.create_subscription(Image, 'depth/image', take, NEWEST)
        count = repeats + WARM_UP_FRAMES
        words = ['depth/image', '--size', *map(str, DEPTH_SIZE)]
        # Images may be lost on a busy machine, so they are sent until enough have arrived.
        timing = _timing(START_S * RATE_HZ)
        with _process('lb_ros.bench.sender', *words, *timing) as sender:
            _spin(node, lambda: len(cpu_s) > count or sender.poll() is not None)
    cpu_ms = np.diff(cpu_s[WARM_UP_FRAMES:]) * 1e3
    facts = {'rate_hz': RATE_HZ, 'width': DEPTH_SIZE[0], 'height': DEPTH_SIZE[1]}
    inside_ms = np.subtract(tensor_ms, arrived_ms).tolist()
    return [
        _measurement('messages', case, times[WARM_UP_FRAMES:], cpu=cpu_ms, facts=facts)
        for case, times in (
            ('depth, stamp to callback', arrived_ms),
            ('depth, callback to tensor', inside_ms),
            ('depth, stamp to tensor', tensor_ms),
        )
    ]


def end_to_end(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure `bringup` with four sensors at 30 Hz, from a frame's stamp to its first score.

    `repeats` frames of each sensor are sent after those for warming up. CPU time is that of
    `bringup` per embedding.
    """
    ages_ms: dict[str, list[float]] = defaultdict(list)
    newest_ms: dict[str, float] = {}
    with _node() as node, _bringup(node, model, precision) as nodes:

        def take(message: PredicateScores) -> None:
            evaluated_ms = to_ns(message.header.stamp) * 1e-6 + message.latency_ms
            for modality, age_ms in ages_in(message).items():
                if evaluated_ms - age_ms > newest_ms.get(modality, 0.0) + 1.0:
                    newest_ms[modality] = evaluated_ms - age_ms
                    ages_ms[modality].append(age_ms)

        node.create_subscription(PredicateScores, 'predicates/scores', take, 50)
        before_s = _cpu_s(nodes.pid)
        with _process(
            'lb_ros.bench.sender', *TOPICS, *_timing(repeats + WARM_UP_FRAMES)
        ) as sender:
            _spin(node, lambda: sender.poll() is not None)
        took_s = _cpu_s(nodes.pid) - before_s
        nodes.send_signal(signal.SIGINT)
        output, _ = nodes.communicate(timeout=START_S)
    counters = json.loads(output.splitlines()[-1])['counters']
    encoded = sum(count['encoded'] for count in counters.values())
    cpu_ms = [took_s * 1e3 / max(encoded, 1)]
    found = []
    together: list[float] = []
    for modality, ages in ages_ms.items():
        counted = ages[min(WARM_UP_FRAMES, len(ages) // 2) :]
        together += counted
        facts = {'rate_hz': RATE_HZ, 'frames': len(counted), **counters[modality]}
        found.append(
            _measurement('end_to_end', f'{modality} to score', counted, cpu=cpu_ms, facts=facts)
        )
    facts = {'rate_hz': RATE_HZ, 'frames': len(together)}
    return [*found, _measurement('end_to_end', 'all to score', together, cpu=cpu_ms, facts=facts)]


def idle(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure the CPU time of `bringup` per second while no sensor sends messages."""
    with _node() as node, _bringup(node, model, precision) as nodes:
        spent_ms = []
        for _ in range(max(2, min(repeats, round(IDLE_S)))):
            before_s, start_s = _cpu_s(nodes.pid), time.monotonic()
            time.sleep(1.0)
            spent_ms.append((_cpu_s(nodes.pid) - before_s) / (time.monotonic() - start_s) * 1e3)
    percent = round(float(np.mean(spent_ms)) / 10, 2)
    facts = {'percent_of_a_core': percent}
    return [_measurement('idle', 'bringup, per second', spent_ms, cpu=spent_ms, facts=facts)]


def _measurement(suite: str, case: str, times_ms: Any, *, cpu: Any, facts: Any) -> Measurement:
    if not len(times_ms):
        raise ValueError(f'{suite}: {case}: nothing arrived')
    return Measurement(
        suite,
        case,
        median_ms=round(float(np.median(times_ms)), 4),
        p95_ms=round(float(np.percentile(times_ms, 95)), 4),
        min_ms=round(float(np.min(times_ms)), 4),
        cpu_ms=round(float(np.median(cpu)), 4),
        repeats=len(times_ms),
        facts=dict(facts),
    )


@contextmanager
def _node() -> Iterator[Node]:
    """Make a node in a separate ROS domain, which processes started meanwhile share."""
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    use_dds_profile()
    rclpy.init()
    node = rclpy.create_node('bench')
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def _process(module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, '-m', module, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _bringup(node: Node, model: str, precision: str) -> Iterator[subprocess.Popen[str]]:
    """Run the nodes; enter when they are active."""
    active: list[PredicateStates] = []
    node.create_subscription(PredicateStates, 'predicates/state', active.append, LATCHED)
    parameters = {'model': model, 'precision': precision, 'max_rate_hz': RATE_HZ}
    words = [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
    with _process('lb_ros.start', 'bringup', '--ros-args', *words) as nodes:
        _spin(node, lambda: bool(active) or nodes.poll() is not None)
        if nodes.poll() is not None:
            raise ValueError('bringup did not start; its last line says why')
        yield nodes


def _spin(node: Node, until: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + START_S
    while not until():
        if time.monotonic() > limit_s:
            raise ValueError(f'not done within {START_S:.0f} s')
        rclpy.spin_once(node, timeout_sec=0.1)


def _timing(frames: float) -> list[str]:
    return ['--rate-hz', str(RATE_HZ), '--seconds', str(frames / RATE_HZ)]


def _cpu_s(pid: int) -> float:
    """Return the user and system time of a process and its threads, seconds."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
