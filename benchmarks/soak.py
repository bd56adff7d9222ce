"""Soak test: four sensors at 30 Hz with random faults against a running bringup.

Checks that memory does not grow, that every sensor recovers, and that no state is ever known from
outdated evidence.

    python -m benchmarks.soak --minutes 60
    python -m benchmarks.soak --minutes 3 --json soak.json
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
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from lb_ros.bench.environment import environment
from lb_ros.msg import AudioChunk, PredicateStates
from lb_ros.ros.qos import LATCHED
from lb_ros.ros.stamps import to_stamp

TOPICS = {
    'image': 'camera/image', 'depth': 'depth/image', 'infrared': 'infrared/image',
    'audio': 'microphone/audio',
}  # fmt: skip
MAX_AGE_MS, SLACK_S, RECOVERY_S = 1000, 1.0, 5.0
FAULT_S, PAUSE_S = (1.0, 4.0), (2.0, 6.0)
FAULTS = ('silent', 'encoding', 'size', 'stale', 'future', 'no_pixel')
START_S, SETTLE_S = 180.0, 20.0
UNKNOWN = 0
# A sentence for each sensor that is informative for it according to the calibration of lb-mini.
SENTENCES = {
    'image': ('the drawer is open', 'the drawer is closed'),
    'depth': ('the drawer is open', 'the drawer is closed'),
    'infrared': ('the stove is hot', 'the stove is cold'),
    'audio': ('something was dropped', 'nothing was dropped'),
}


def predicates() -> str:
    """Predicate file with one predicate per sensor, which any evidence makes known."""
    entry = """  {0} has evidence:
    positive: [{2}]
    negative: [{3}]
    modalities: [{0}]
    threshold_on: 0.5
    threshold_off: 0.49999
    dwell_ms: 0
    max_age_ms: {1}
"""
    return 'predicates:\n' + ''.join(
        entry.format(name, MAX_AGE_MS, *SENTENCES[name]) for name in TOPICS
    )


class Sensors(Node):
    """Publisher of all four sensors, each with its own random faults; checks the states."""

    def __init__(self, pid: int, seed: int) -> None:
        super().__init__('soak')
        self._rng, self._pid = np.random.default_rng(seed), pid
        self._senders = {
            name: self.create_publisher(AudioChunk if name == 'audio' else Image, topic, 5)
            for name, topic in TOPICS.items()
        }
        self._fault = dict.fromkeys(TOPICS, '')
        self._until_s = dict.fromkeys(TOPICS, math.inf)  # no faults before `begin`
        # End of a sensor's last fault, until the sensor recovers or the time limit is reached.
        self._awaited_since_s: dict[str, float] = {}
        self._last_good_s = dict.fromkeys(TOPICS, 0.0)
        self.recoveries_s: list[float] = []
        self.missed: list[str] = []
        self.wrong: list[str] = []
        self.ticks = self.sent = self.faults = 0
        self.resident_kib: list[int] = []
        self.states: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        self.engine: dict[str, str] = {}
        self.create_subscription(PredicateStates, 'predicates/state', self._judge, LATCHED)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._diagnostics, 10)
        self.create_timer(1 / 30, self._tick)
        self.create_timer(1.0, self._measure)

    @property
    def all_known(self) -> bool:
        """Whether the states of all sensors are known."""
        return all(self._knows(name) for name in TOPICS)

    def begin(self) -> None:
        """Start faults and counting; everything before is warm-up."""
        now_s = time.monotonic()
        self._until_s = {name: now_s + 1 + k for k, name in enumerate(TOPICS)}
        self.ticks = self.sent = 0
        self.resident_kib.clear()

    def _knows(self, name: str) -> bool:
        return self.states.get(name, UNKNOWN) != UNKNOWN

    def _judge(self, message: PredicateStates) -> None:
        self.states = {s.name.split()[0]: s.state for s in message.states}
        self.reasons = {s.name.split()[0]: s.reason for s in message.states}
        now_s = time.monotonic()
        for name in TOPICS:
            since_s = self._awaited_since_s.get(name)
            if since_s is not None and self._knows(name):
                self.recoveries_s.append(now_s - since_s)
                del self._awaited_since_s[name]

    def _look(self, now_s: float) -> None:
        for name in TOPICS:
            old_s = now_s - self._last_good_s[name] - MAX_AGE_MS * 1e-3
            if self._fault[name] and self._knows(name) and old_s > SLACK_S:
                self.wrong.append(f'{name}, {self._fault[name]}: {old_s:.1f} s too old')
            since_s = self._awaited_since_s.get(name)
            if since_s is not None and now_s - since_s > RECOVERY_S:
                self.missed.append(name)
                del self._awaited_since_s[name]

    def _measure(self) -> None:
        statm = Path(f'/proc/{self._pid}/statm').read_text().split()
        self.resident_kib.append(int(statm[1]) * os.sysconf('SC_PAGE_SIZE') // 1024)

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == 'lb_ros/engine':
                self.engine = {pair.key: pair.value for pair in status.values}

    def _tick(self) -> None:
        now_s = time.monotonic()
        for name in TOPICS:
            if now_s >= self._until_s[name]:
                self._change(name, now_s)
            if name != 'audio' or self.ticks % 3 == 0:  # its chunks are 100 ms long
                self._send(name, now_s)
        self.ticks += 1
        self._look(now_s)

    def _change(self, name: str, now_s: float) -> None:
        was_bad = bool(self._fault[name])
        self._fault[name] = '' if was_bad else str(self._rng.choice(FAULTS))
        self.faults += int(not was_bad)
        self._until_s[name] = now_s + self._rng.uniform(*(PAUSE_S if was_bad else FAULT_S))
        # A fault may be too short to have an effect; then there is nothing to recover from.
        if was_bad and not self._knows(name):
            self._awaited_since_s[name] = now_s
        else:
            self._awaited_since_s.pop(name, None)

    def _send(self, name: str, now_s: float) -> None:
        fault = self._fault[name]
        if fault == 'silent':
            return
        message = self._sound() if name == 'audio' else self._picture(name)
        shift_s = {'stale': -5.0, 'future': 5.0}.get(fault, 0.0)
        stamp_ns = self.get_clock().now().nanoseconds + round(shift_s * 1e9)
        message.header.stamp = to_stamp(stamp_ns)
        if fault == 'encoding' or (fault == 'no_pixel' and name in ('image', 'audio')):
            _spoil(message, name)
        elif fault == 'size':
            _cut(message, name)
        elif fault == 'no_pixel':
            message.data = bytes(len(message.data))
        if not fault:
            self._last_good_s[name] = now_s
        self._senders[name].publish(message)
        self.sent += 1

    def _picture(self, name: str) -> Image:
        kind, low, high, size = {
            'image': ('rgb8', 0, 255, 3), 'depth': ('16UC1', 500, 2000, 1),
            'infrared': ('mono16', 29_000, 31_000, 1),
        }[name]  # fmt: skip
        dtype = np.uint8 if kind == 'rgb8' else np.uint16
        pixels = self._rng.integers(low, high, (120, 160 * size), dtype)
        data = pixels.tobytes()
        return Image(encoding=kind, width=160, height=120, step=len(data) // 120, data=data)

    def _sound(self) -> AudioChunk:
        samples = self._rng.integers(-900, 900, 1600).astype(np.int16)
        return AudioChunk(sample_rate_hz=16_000, channels=1, samples=samples)


def _spoil(message: Any, name: str) -> None:
    if name == 'audio':
        message.sample_rate_hz = 1
    else:
        message.encoding = 'bayer_of_mars'


def _cut(message: Any, name: str) -> None:
    if name == 'audio':
        message.channels = 3
    else:
        message.data = message.data[:-7]


def soak(minutes: float, *, model: str, seed: int) -> dict[str, Any]:
    """Run and return the measurements.

    Raises:
        RuntimeError: The nodes did not answer for every sensor within `START_S`.
    """
    folder = Path(tempfile.mkdtemp())
    (folder / 'predicates.yaml').write_text(predicates())
    words = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    words += ['-p', f'model:={model}', '-p', f'predicates:={folder / "predicates.yaml"}']
    words += ['-p', 'threads:=1', '-p', 'max_rate_hz:=5.0']
    log_path = folder / 'log.txt'
    with log_path.open('w') as log:
        process = subprocess.Popen(words, stderr=log, stdout=log)
    rclpy.init()
    node = Sensors(process.pid, seed)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin(limit_s: float, *, ends: Callable[[], bool] = lambda: False) -> None:
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s and process.poll() is None and not ends():
            executor.spin_once(timeout_sec=0.1)

    try:
        spin(START_S, ends=lambda: node.all_known)
        if not node.all_known:
            raise RuntimeError(
                f'not ready in {START_S:.0f} s: states {node.states}, reasons {node.reasons}, '
                f'engine {node.engine}; {log_path.read_text()[-2000:]}'
            )
        spin(SETTLE_S)
        node.begin()
        spin(minutes * 60)
        alive = process.poll() is None
    finally:
        process.terminate()
        process.wait(30)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    found = measured(node, minutes=minutes)
    return found | {'alive': alive, 'log_lines': len(log_path.read_text().splitlines())}


def measured(node: Sensors, *, minutes: float) -> dict[str, Any]:
    """Measurements of a run, for JSON."""
    tenth = max(1, len(node.resident_kib) // 10)
    first_kib = float(np.median(node.resident_kib[:tenth]))
    last_kib = float(np.median(node.resident_kib[-tenth:]))
    slow = sorted(node.recoveries_s) or [0.0]
    return {
        'minutes': minutes,
        'ticks_hz': round(node.ticks / (minutes * 60), 1),
        'messages': node.sent,
        'faults': node.faults,
        'recoveries': len(node.recoveries_s),
        'recovery_s': {'median': round(slow[len(slow) // 2], 2), 'max': round(slow[-1], 2)},
        'missed_recoveries': node.missed,
        'states_known_from_stale_data': len(node.wrong),
        'first_of_them': node.wrong[:5],
        'resident_first_mib': round(first_kib / 1024, 1),
        'resident_last_mib': round(last_kib / 1024, 1),
        'resident_change_percent': round((last_kib - first_kib) / first_kib * 100, 2),
        'resident_mib_each_minute': [round(kib / 1024, 1) for kib in node.resident_kib[::60]],
        'engine': node.engine,
    }


def main() -> int:
    """Return 0 if all sensors recovered and memory stayed within bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=3.0)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--growth-percent', type=float, default=2.0)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    found = soak(args.minutes, model=args.model, seed=args.seed)
    print(json.dumps(found, indent=2))
    if args.json:
        whole = {**environment(), **found}
        args.json.write_text(json.dumps(whole, indent=2) + '\n')
    failed = (
        not found['alive']
        or found['missed_recoveries']
        or found['states_known_from_stale_data']
        or found['resident_change_percent'] > args.growth_percent
    )
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
