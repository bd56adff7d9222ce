"""Four sensors at 30 Hz with random faults against a running bringup, for as long as you like.

Checks that memory stays flat, that every sensor recovers, and that no state is ever known from
evidence that is too old.

    python tests/soak.py --minutes 60
    python tests/soak.py --minutes 3 --json soak.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from lb_ros.msg import AudioChunk, PredicateStates
from lb_ros.predicates_node import LATCHED
from lb_ros.stamps import to_stamp

TOPICS = {
    'image': 'camera/image', 'depth': 'depth/image', 'infrared': 'infrared/image',
    'audio': 'microphone/audio',
}  # fmt: skip
MAX_AGE_MS, SLACK_S, RECOVERY_S = 1000, 1.0, 5.0
FAULT_S, PAUSE_S = (1.0, 4.0), (2.0, 6.0)
FAULTS = ('silent', 'encoding', 'size', 'stale', 'future', 'no_pixel')
WARM_UP_S = 45.0
UNKNOWN = 0


def predicates() -> str:
    """One predicate per sensor, known with any evidence at all."""
    entry = """  {0} has evidence:
    positive: [the drawer is open]
    negative: [the drawer is closed]
    modalities: [{0}]
    threshold_on: 0.5
    threshold_off: 0.49999
    dwell_ms: 0
    max_age_ms: {1}
"""
    return 'predicates:\n' + ''.join(entry.format(name, MAX_AGE_MS) for name in TOPICS)


class Sensors(Node):
    """Publishes all four, each with its own random faults, and judges the states."""

    def __init__(self, pid: int, seed: int) -> None:
        super().__init__('soak')
        self._rng, self._pid = np.random.default_rng(seed), pid
        self._senders = {
            name: self.create_publisher(AudioChunk if name == 'audio' else Image, topic, 5)
            for name, topic in TOPICS.items()
        }
        now_s = time.monotonic()
        self._fault = dict.fromkeys(TOPICS, '')
        self._until_s = {name: now_s + WARM_UP_S + k for k, name in enumerate(TOPICS)}
        self._good_since_s = dict.fromkeys(TOPICS, now_s + WARM_UP_S)
        self._last_good_s = dict.fromkeys(TOPICS, 0.0)
        self._recovered = dict.fromkeys(TOPICS, False)
        self.recoveries_s: list[float] = []
        self.missed = self.wrong = self.sent = self.faults = 0
        self.resident_kib: list[int] = []
        self.engine: dict[str, str] = {}
        self.create_subscription(PredicateStates, 'predicates/state', self._judge, LATCHED)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._diagnostics, 10)
        self.create_timer(1 / 30, self._tick)
        self.create_timer(1.0, self._measure)
        self.states: dict[str, int] = {}

    def _judge(self, message: PredicateStates) -> None:
        self.states = {s.name.split()[0]: s.state for s in message.states}
        now_s = time.monotonic()
        for name, state in self.states.items():
            if state != UNKNOWN and self._is_bad(name) and self._stale_s(name, now_s) > 0:
                self.wrong += 1

    def _is_bad(self, name: str) -> bool:
        return bool(self._fault[name])

    def _stale_s(self, name: str, now_s: float) -> float:
        return now_s - self._last_good_s[name] - MAX_AGE_MS * 1e-3 - SLACK_S

    def _measure(self) -> None:
        statm = Path(f'/proc/{self._pid}/statm').read_text().split()
        self.resident_kib.append(int(statm[1]) * os.sysconf('SC_PAGE_SIZE') // 1024)
        now_s = time.monotonic()
        for name in TOPICS:
            known = self.states.get(name, UNKNOWN) != UNKNOWN
            if self._is_bad(name):
                self.wrong += int(known and self._stale_s(name, now_s) > 0)
            elif known and not self._recovered[name]:
                self._recovered[name] = True
            elif not known and now_s - self._good_since_s[name] > RECOVERY_S:
                self.missed += 1

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == 'lb_ros/engine':
                self.engine = {pair.key: pair.value for pair in status.values}

    def _tick(self) -> None:
        now_s = time.monotonic()
        for name in TOPICS:
            if now_s >= self._until_s[name]:
                self._change(name, now_s)
            if name != 'audio' or self.sent % 3 == 0:
                self._send(name, now_s)
        self.sent += 1

    def _change(self, name: str, now_s: float) -> None:
        was_bad = self._is_bad(name)
        self._fault[name] = '' if was_bad else str(self._rng.choice(FAULTS))
        self.faults += int(not was_bad)
        self._until_s[name] = now_s + self._rng.uniform(*(PAUSE_S if was_bad else FAULT_S))
        if was_bad:
            self._good_since_s[name], self._recovered[name] = now_s, False

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
    """Run and return what was measured."""
    folder = Path(tempfile.mkdtemp())
    (folder / 'predicates.yaml').write_text(predicates())
    words = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    words += ['-p', f'model:={model}', '-p', f'predicates:={folder / "predicates.yaml"}']
    words += ['-p', 'threads:=1', '-p', 'max_rate_hz:=5.0']
    with (folder / 'log.txt').open('w') as log:
        process = subprocess.Popen(words, stderr=log, stdout=log)
    rclpy.init()
    node = Sensors(process.pid, seed)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        end_s = time.monotonic() + WARM_UP_S + minutes * 60
        while time.monotonic() < end_s and process.poll() is None:
            executor.spin_once(timeout_sec=0.1)
    finally:
        alive = process.poll() is None
        process.terminate()
        process.wait(30)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    resident = node.resident_kib[int(WARM_UP_S) + 15 :]
    tenth = max(1, len(resident) // 10)
    first, last = np.median(resident[:tenth]), np.median(resident[-tenth:])
    return {
        'minutes': minutes,
        'alive': alive,
        'ticks_of_30_hz': node.sent,
        'faults': node.faults,
        'missed_recoveries': node.missed,
        'states_known_from_stale_data': node.wrong,
        'resident_first_mib': round(float(first) / 1024, 1),
        'resident_last_mib': round(float(last) / 1024, 1),
        'resident_change_percent': round(float((last - first) / first * 100), 2),
        'log_lines': len((folder / 'log.txt').read_text().splitlines()),
        'engine': node.engine,
    }


def main() -> int:
    """0 where nothing was missed and memory stayed within 2 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=3.0)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    found = soak(args.minutes, model=args.model, seed=args.seed)
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + '\n')
    failed = (
        not found['alive']
        or found['missed_recoveries']
        or found['states_known_from_stale_data']
        or found['resident_change_percent'] > 2
    )
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
