"""Sensors encoded one at a time or all in one call: time to the score, and how many are encoded.

Four sensors at 30 Hz, all nodes in one process on this CPU, as in `benchmarks.latency`. The
settings take turns, so that other load of the machine meets all of them.

    python -m benchmarks.serving --rounds 5
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
from statistics import median
from typing import Any

import rclpy

from benchmarks.eight_sensors import process_s
from benchmarks.environment import write_result
from benchmarks.latency import START_S, WARM_UP_S, Robot
from lb_ros.dds_profile import use_dds_profile

RATE_HZ = 30.0
SENSORS = ('image', 'depth', 'infrared', 'audio')
SETTINGS = {
    'together, on all cores': (f'max_batch:={len(SENSORS)}', 'threads:={cores}'),
    'together': (f'max_batch:={len(SENSORS)}',),
    'one at a time': (),
    'one at a time, onnxruntime': ('engine:=onnxruntime',),
}


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seconds', type=float, default=15.0)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '73'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    use_dds_profile(sends_images=True)
    rclpy.init()
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(args.rounds):
        for name, parameters in SETTINGS.items():
            runs[name].append(measure(args.model, parameters, args.seconds))
            print(name, runs[name][-1], flush=True)
    rclpy.shutdown()
    settings = {
        name: {key: round(median(run[key] for run in found), 2) for key in found[0]}
        for name, found in runs.items()
    }
    path = write_result('serving', {'model': args.model, 'medians': settings, 'runs': runs})
    print(f'{json.dumps(settings, indent=2)}\nwritten to {path}')


def measure(model: str, parameters: tuple[str, ...], seconds: float) -> dict[str, float]:
    """Start the nodes with these parameters, and return what was measured after the warm-up."""
    given = [each.format(cores=len(os.sched_getaffinity(0))) for each in parameters]
    words = [word for each in (f'model:={model}', *given) for word in ('-p', each)]
    nodes = subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args', *words],
        stdout=subprocess.DEVNULL,
    )
    robot = Robot(rate_hz=RATE_HZ)
    try:
        limit_s = time.monotonic() + START_S
        while set(robot.latencies_ms) != set(SENSORS):
            if time.monotonic() > limit_s:
                raise TimeoutError(f'scores of {sorted(robot.latencies_ms)} only')
            play(robot, 1 / RATE_HZ)
        play(robot, WARM_UP_S)
        robot.forget()
        spent_s = process_s(nodes.pid)
        play(robot, seconds)
        spent_s = process_s(nodes.pid) - spent_s
        nodes.send_signal(signal.SIGINT)
        nodes.wait(timeout=START_S)
    finally:
        nodes.kill()
        robot.node.destroy_node()
    return figures(robot.summary(), seconds, spent_s)


def play(robot: Robot, seconds: float) -> None:
    """Publish one frame of every sensor at `RATE_HZ`, and listen."""
    start_s = time.monotonic()
    for sent in range(1, max(1, round(seconds * RATE_HZ)) + 1):
        robot.sense()
        robot.listen_until(start_s + sent / RATE_HZ)


def figures(summary: dict[str, Any], seconds: float, spent_s: float) -> dict[str, float]:
    """The latencies, the embeddings that scores used, and the processor time for each."""
    frames = sum(each['frames'] for each in summary['latency_ms_by_modality'].values())
    return {
        **{f'{name}_ms': value for name, value in summary['latency_ms'].items()},
        'embeddings_per_s': round(frames / seconds, 1),
        'cpu_ms_per_embedding': round(spent_s * 1e3 / frames, 1),
    }


if __name__ == '__main__':
    main()
