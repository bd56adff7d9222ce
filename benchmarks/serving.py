"""Sensors encoded one at a time or all in one call, with and without readouts: time to the score.

Four sensors, all nodes in one process on this CPU, as in `benchmarks.latency`. The settings take
turns, so that other load of the machine meets all of them.

    python -m benchmarks.serving --rounds 5
    python -m benchmarks.serving --name serving_readouts --settings \
        'one at a time' 'one at a time, without readouts' --rate-hz 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import rclpy

from benchmarks.eight_sensors import process_s
from benchmarks.environment import write_result
from benchmarks.latency import START_S, WARM_UP_S, Robot
from encoders.model_sets.places import find_set
from lb_ros.dds_profile import use_dds_profile

SENSORS = ('image', 'depth', 'infrared', 'audio')
SETTINGS = {
    'together, on all cores': (f'max_batch:={len(SENSORS)}', 'threads:={cores}'),
    'together': (f'max_batch:={len(SENSORS)}',),
    'one at a time': (),
    'one at a time, onnxruntime': ('engine:=onnxruntime',),
    'one at a time, without readouts': ('model:={bare}',),
}
READOUTS = ('readout.safetensors', 'readout_calibration.safetensors')


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seconds', type=float, default=15.0)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--rate-hz', type=float, default=30.0, help='of each sensor; default 30')
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument('--name', default='serving', help='of the result file')
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '73'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    use_dds_profile(sends_images=True)
    rclpy.init()
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        bare, cores = Path(folder, Path(args.model).name), len(os.sched_getaffinity(0))
        shutil.copytree(find_set(args.model), bare, ignore=shutil.ignore_patterns(*READOUTS))
        for _ in range(args.rounds):
            for name in args.settings:
                given = [each.format(cores=cores, bare=bare) for each in SETTINGS[name]]
                given = [f'model:={args.model}', *given]
                runs[name].append(measure(given, args.seconds, rate_hz=args.rate_hz))
                print(name, runs[name][-1], flush=True)
    rclpy.shutdown()
    settings = {
        name: {key: round(median(run[key] for run in found), 2) for key in found[0]}
        for name, found in runs.items()
    }
    result = {'model': args.model, 'rate_hz': args.rate_hz, 'medians': settings, 'runs': runs}
    path = write_result(args.name, result)
    print(f'{json.dumps(settings, indent=2)}\nwritten to {path}')


def measure(parameters: Sequence[str], seconds: float, *, rate_hz: float) -> dict[str, float]:
    """Start the nodes with these parameters, and return what was measured after the warm-up."""
    words = [word for each in parameters for word in ('-p', each)]
    nodes = subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args', *words],
        stdout=subprocess.DEVNULL,
    )
    robot = Robot(rate_hz=rate_hz)
    try:
        limit_s = time.monotonic() + START_S
        while set(robot.latencies_ms) != set(SENSORS):
            if time.monotonic() > limit_s:
                raise TimeoutError(f'scores of {sorted(robot.latencies_ms)} only')
            play(robot, 1 / rate_hz, rate_hz=rate_hz)
        play(robot, WARM_UP_S, rate_hz=rate_hz)
        robot.forget()
        spent_s = process_s(nodes.pid)
        play(robot, seconds, rate_hz=rate_hz)
        spent_s = process_s(nodes.pid) - spent_s
        nodes.send_signal(signal.SIGINT)
        nodes.wait(timeout=START_S)
    finally:
        nodes.kill()
        robot.node.destroy_node()
    return figures(robot.summary(), seconds, spent_s)


def play(robot: Robot, seconds: float, *, rate_hz: float) -> None:
    """Publish one frame of every sensor at this rate, and listen."""
    start_s = time.monotonic()
    for sent in range(1, max(1, round(seconds * rate_hz)) + 1):
        robot.sense()
        robot.listen_until(start_s + sent / rate_hz)


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
