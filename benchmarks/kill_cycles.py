"""Kill nodes and a training run with SIGKILL repeatedly, at random times.

After every kill a node is restarted and must answer within five seconds of its sensor's first
message; a training run must resume from an intact checkpoint, and end with exactly the weights of
a run that was never killed.

A cycle of a node has two kills: one at a random time of its start, and one in operation, shortly
after its first answer. Nodes can be killed in parallel, each in its own ROS domain.

    python -m benchmarks.kill_cycles --cycles 200 --json killed.json
    python -m benchmarks.kill_cycles --cycles 10 --only bringup --only training
    nice python -m benchmarks.kill_cycles --cycles 200 --jobs 2 --minutes 30 --json killed.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from safetensors.numpy import load_file
from sensor_msgs.msg import Image

from encoders import Binder
from encoders.model_sets.places import WEIGHTS
from lb_ros.bench.environment import environment
from lb_ros.msg import AudioChunk, Embedding, PredicateStates
from lb_ros.ros.qos import LATCHED
from lb_ros.ros.stamps import to_stamp
from tests.train.conftest import RECIPE, DrawnBag, random_moments
from train.training.checkpoint import CHECKPOINT, LOG

ROOT = Path(__file__).resolve().parents[1]
START_S, RECOVERY_S, WORK_S = 180.0, 5.0, 0.5
SENSORS = {'camera_encoder': 'image', 'depth_encoder': 'depth', 'infrared_encoder': 'infrared',
           'microphone_encoder': 'audio'}  # fmt: skip
TOPICS = {'image': 'camera/image', 'depth': 'depth/image', 'infrared': 'infrared/image',
          'audio': 'microphone/audio'}  # fmt: skip
NODES = ('bringup', 'predicates', *SENSORS)
STEPS_PER_CYCLE = 30
PREDICATES = """predicates:
  seen:
    positive: [the drawer is open]
    negative: [the drawer is closed]
    modalities: [image]
    threshold_on: 0.5
    threshold_off: 0.49999
    dwell_ms: 0
"""


class Robot(Node):
    """Publisher of a node's input that records whether the node is active and has answered."""

    def __init__(self, target: str, binder: Binder) -> None:
        super().__init__('robot')
        self._target, self._rng = target, np.random.default_rng(0)
        self.modality = SENSORS.get(target, 'image')
        self.is_active = self.has_answered = False
        vector = binder.embed(image=np.zeros((8, 8, 3), np.uint8))['image'][0]
        self._embedding = Embedding(
            modality='image', model=binder.model, language_space=binder.space,
            vector=vector.tolist(), valid_fraction=1.0,
        )  # fmt: skip
        kind = AudioChunk if self.modality == 'audio' else Image
        if target == 'predicates':
            self._sender = self.create_publisher(Embedding, 'embeddings/image', 1)
        else:
            self._sender = self.create_publisher(kind, TOPICS[self.modality], 1)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._diagnostics, 10)
        self.create_subscription(PredicateStates, 'predicates/state', self._states, LATCHED)
        if target in SENSORS:
            topic = f'embeddings/{self.modality}'
            self.create_subscription(Embedding, topic, self._heard, qos_profile_sensor_data)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'/{self._target}: lifecycle':
                self.is_active = status.message == 'active'

    def _states(self, message: PredicateStates) -> None:
        self.has_answered = any(each.state for each in message.states)

    def _heard(self, message: Embedding) -> None:
        self.has_answered = True

    def send(self) -> None:
        """Publish one message with the current time."""
        if self._target == 'predicates':
            message: Any = self._embedding
        elif self.modality == 'audio':
            samples = self._rng.integers(-900, 900, 1600).astype(np.int16)
            message = AudioChunk(sample_rate_hz=16_000, channels=1, samples=samples)
        else:
            encoding, size = ('rgb8', 3) if self.modality == 'image' else ('16UC1', 2)
            data = self._rng.integers(1, 99, 64 * 48 * size).astype(np.uint8).tobytes()
            message = Image(encoding=encoding, width=64, height=48, step=64 * size, data=data)
        message.header.stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._sender.publish(message)

    def until(
        self, holds: Callable[[], bool], limit_s: float, *, sends: bool = False
    ) -> float | None:
        """Spin until a condition holds; return the time it took, or None beyond the limit."""
        began_s = time.monotonic()
        while not holds():
            if time.monotonic() - began_s > limit_s:
                return None
            if sends:
                self.send()
            self._executor.spin_once(timeout_sec=0.03)
        return time.monotonic() - began_s

    def pass_time(self, duration_s: float, *, sends: bool = False) -> None:
        """Spin for a time."""
        self.until(lambda: False, duration_s, sends=sends)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.destroy_node()


def kill_node(
    target: str, cycles: int, *, rng: np.random.Generator, end_s: float
) -> dict[str, Any]:
    """Kill a node at random times of its start and operation; return the measurements.

    No cycle begins after `end_s` (monotonic).
    """
    folder = Path(tempfile.mkdtemp())
    (folder / 'predicates.yaml').write_text(PREDICATES)
    words = [sys.executable, '-m', 'lb_ros.start', target, '--ros-args', '-p', 'threads:=1']
    words += ['-p', f'predicates:={folder / "predicates.yaml"}']
    robot = Robot(target, Binder.load('lb-mini'))
    starts_s: list[float] = []
    recoveries_s: list[float] = []
    done = 0
    while done < cycles and time.monotonic() < end_s:
        with (folder / 'log.txt').open('w') as log:
            start_s, recovery_s = _kill_twice(
                robot, words, log=log, longest_s=max(starts_s, default=6.0), rng=rng
            )
        done += 1
        if start_s is None or recovery_s is None:
            print((folder / 'log.txt').read_text()[-1000:], file=sys.stderr)
        else:
            starts_s.append(start_s)
            recoveries_s.append(recovery_s)
    robot.close()
    return {
        'cycles': done,
        'kills': 2 * done,
        'missed': done - len(recoveries_s),
        'start_s': _quantiles(starts_s),
        'recovery_s': _quantiles(recoveries_s),
    }


def _kill_twice(
    robot: Robot, words: list[str], *, log: TextIO, longest_s: float, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Perform one cycle: a kill within `longest_s` of a start, and one in operation.

    Returns:
        Seconds from the second start until the node is active, and from then until it has
        answered; None if that took too long.
    """
    victim = subprocess.Popen(words, stdout=log, stderr=log)
    robot.pass_time(float(rng.uniform(0, longest_s)), sends=True)
    victim.kill()
    victim.wait()
    robot.pass_time(0.3)  # receives its last messages before the flags are reset
    robot.is_active = robot.has_answered = False
    process = subprocess.Popen(words, stdout=log, stderr=log)
    start_s = robot.until(lambda: robot.is_active, START_S)
    robot.has_answered = False
    recovery_s = robot.until(lambda: robot.has_answered, RECOVERY_S, sends=True)
    robot.pass_time(float(rng.uniform(0, WORK_S)), sends=True)
    process.kill()
    process.wait()
    return start_s, recovery_s


def kill_apart(target: str, domain: int, args: argparse.Namespace) -> dict[str, Any]:
    """Call `kill_node` in a separate process and ROS domain."""
    report = Path(tempfile.mkdtemp()) / 'report.json'
    words = [sys.executable, '-m', 'benchmarks.kill_cycles', '--only', target]
    words += ['--cycles', str(args.cycles), '--minutes', str(args.minutes)]
    words += ['--seed', str(args.seed + domain)]
    apart = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
    subprocess.run([*words, '--json', str(report)], cwd=ROOT, env=apart, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(report.read_text())[target]
    return found


def kill_training(cycles: int, *, rng: np.random.Generator) -> dict[str, Any]:
    """Kill a training run at random times; return the measurements."""
    folder = Path(tempfile.mkdtemp())
    steps = STEPS_PER_CYCLE * cycles
    _write_training(folder, steps)
    out, whole, damaged, killed, steps_seen = folder / 'out', folder / 'whole', 0, 0, [0]
    often = _training_command(folder, 'often.yaml', out=out)
    while killed < cycles and steps_seen[-1] < steps:
        resume = ['--resume'] if (out / CHECKPOINT).exists() else []
        process = subprocess.Popen(
            [*often, *resume], cwd=ROOT, env=_one_thread(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _await_change(out / CHECKPOINT, process)
        time.sleep(float(rng.uniform(0, 1.0)))
        process.kill()
        process.wait()
        killed += 1
        step = _step_of(out / CHECKPOINT)
        damaged += int(step is None or step < steps_seen[-1])
        if step is not None:
            steps_seen.append(step)
    for words in ([*often, '--resume'], _training_command(folder, 'whole.yaml', out=whole)):
        subprocess.run(words, cwd=ROOT, env=_one_thread(), check=True, stdout=subprocess.DEVNULL)
    first, second = (load_file(each / 'drawn' / WEIGHTS) for each in (out, whole))
    damaged += sum(json.loads(line) is None for line in (out / LOG).read_text().splitlines())
    return {
        'cycles': killed,
        'damaged_checkpoints': damaged,
        'steps_at_kills': steps_seen[1:],
        'steps': steps,
        'same_weights_as_unbroken_run': all(
            np.array_equal(first[name], second[name]) for name in {**first, **second}
        ),
    }


def _write_training(folder: Path, steps: int) -> None:
    """Write bags, and two recipes that differ in how often a checkpoint is written."""
    for index in range(2):
        DrawnBag().write(
            folder / 'bags' / f'bag{index}',
            random_moments(20, seed=index),
            marks={'split': 'train'},
            seed=index,
        )
    recipe = RECIPE.replace('max_steps: 120', f'max_steps: {steps}')
    (folder / 'whole.yaml').write_text(recipe)
    often = recipe.replace('validate_every_minutes: 1.0e+9', 'validate_every_minutes: 0.0')
    (folder / 'often.yaml').write_text(often)


def _training_command(folder: Path, config: str, *, out: Path) -> list[str]:
    words = [sys.executable, '-m', 'train.cli', 'train', 'bind']
    words += ['--config', str(folder / config), '--data', str(folder / 'bags')]
    words += ['--cache', str(folder / 'cache'), '--workers', '1', '--threads', '1']
    return [*words, '--out', str(out)]


def _one_thread() -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1'}


def _step_of(checkpoint: Path) -> int | None:
    """The step of a checkpoint; None if it cannot be read."""
    try:
        return int(torch.load(checkpoint, weights_only=True)['step'])
    except Exception as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return None


def _await_change(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a run has written its next checkpoint, or has ended."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    end_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end_s:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    found = {f'p{q}': round(float(np.percentile(values, q)), 2) for q in (50, 95)}
    return found | {'max': round(max(values), 2)}


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    """Measurements, by node or training."""
    targets = args.only or (*NODES, 'training')
    found: dict[str, Any] = {}
    if args.jobs > 1:
        nodes = [name for name in targets if name in NODES]
        first = int(os.environ.get('ROS_DOMAIN_ID', '0')) + 1
        with ThreadPoolExecutor(args.jobs) as pool:
            apart = pool.map(lambda n: kill_apart(n[1], n[0], args), enumerate(nodes, start=first))
            found |= dict(zip(nodes, apart, strict=True))
    rng = np.random.default_rng(args.seed)
    rclpy.init()
    for name in targets:
        if name == 'training':
            found[name] = kill_training(args.cycles, rng=rng)
        elif name not in found:
            end_s = time.monotonic() + 60 * args.minutes
            found[name] = kill_node(name, args.cycles, rng=rng, end_s=end_s)
        print(json.dumps({name: found[name]}), flush=True)
    rclpy.try_shutdown()
    return found


def main() -> int:
    """Return 0 if everything recovered and nothing was damaged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cycles', type=int, default=10)
    parser.add_argument('--only', action='append', choices=(*NODES, 'training'))
    parser.add_argument('--jobs', type=int, default=1, help='nodes that are killed side by side')
    parser.add_argument('--minutes', type=float, default=math.inf, help='limit for each node')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    found = _measured(args)
    if args.json:
        args.json.write_text(json.dumps({**environment(), **found}, indent=2) + '\n')
    failed = any(
        each.get('missed') or each.get('damaged_checkpoints')
        or not each.get('same_weights_as_unbroken_run', True)
        for each in found.values()
    )  # fmt: skip
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
