"""From a press to a changed score, live, and what pressing costs the other scores.

Nodes of a `bringup` read camera, depth, infrared and microphone at 10 Hz. Stretches with a press a
second alternate with stretches without, so that both are measured under the same load:

    python -m benchmarks.teaching_live

A run takes about two minutes. Run it on an idle machine: the target is for two cores without other
load.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.client_probe import cpu_s
from benchmarks.environment import write_result
from encoders.predicates.score_arrays import scores_in

PROBE = Path(__file__).resolve().with_name('client_probe.py')
START_S = 240.0
SHOWN_S = 30.0
TARGET_MS = 300.0
SENTENCE = 'the lid is screwed on'


class Listener:
    """The evaluations that nodes publish.

    Args:
        node: The node that hears them.
        name: Name of the taught predicate.

    Attributes:
        modalities: Modalities with evidence in the last evaluation.
        latencies_ms: Latency of every evaluation of the present stretch that has new evidence:
            from the stamp of the newest sensor message to the evaluation.
    """

    def __init__(self, node: Any, name: str) -> None:
        from lb_ros.msg import PredicateScores

        self._name, self._news = name, threading.Condition()
        self._reasons, self._newest = '', None
        self.modalities: set[str] = set()
        self.latencies_ms: list[float] = []
        self._subscription = node.create_subscription(
            PredicateScores, 'predicates/scores', self.take, 10
        )

    def take(self, message: Any) -> None:
        """Hear one evaluation."""
        with self._news:
            # Evaluations after a press, or of aged evidence, would count the same message again.
            newest = message.header.stamp
            if newest != self._newest:
                self.latencies_ms.append(float(message.latency_ms))
            self._newest = newest
            for score in scores_in(message):
                if score.name == self._name:
                    self._reasons = '; '.join(score.reasons)
                    self.modalities = set(score.probability)
            self._news.notify_all()

    def await_presses(self, yes: int, no: int) -> None:
        """Wait for a score that says it was taught by so many presses."""
        told = f'taught ({yes} true, {no} false'
        with self._news:
            if not self._news.wait_for(lambda: told in self._reasons, SHOWN_S):
                raise TimeoutError(f'no score with {told!r}, last: {self._reasons!r}')

    def await_sensors(self, count: int) -> None:
        """Wait for evidence of so many modalities."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.modalities) >= count, START_S):
                raise TimeoutError(f'only evidence of {sorted(self.modalities)}')


@contextmanager
def listening(name: str) -> Iterator[Listener]:
    """A node of its own that hears the evaluations."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('listener', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    listener = Listener(node, name)
    thread.start()
    try:
        yield listener
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


@contextmanager
def robot(model: str) -> Iterator[subprocess.Popen[str]]:
    """Nodes and sensors, with an own file of what was taught."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
        command += ['-p', f'model:={model}', '-p', f'taught:={folder}/lid.taught.safetensors']
        nodes = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
        seen = subprocess.Popen([sys.executable, str(PROBE), '--sensors'], text=True)
        try:
            yield nodes
        finally:
            for process in (seen, nodes):
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(15.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def measure(nodes: subprocess.Popen[str], *, rounds: int, seconds: float) -> dict[str, Any]:
    """Times from presses to scores, and latencies of scores with and without presses."""
    from encoders import Predicate
    from lb_ros.client import LanguageClient

    lid = Predicate.from_sentence(SENTENCE, name='lid')
    shown_ms: list[float] = []
    answered_ms: list[float] = []
    latencies_ms: dict[str, list[float]] = {'with': [], 'without': []}
    cpu: dict[str, list[float]] = {'with': [], 'without': []}
    with LanguageClient(timeout_s=START_S) as client, listening('lid') as listener:
        client.add(lid)
        listener.await_sensors(4)
        presses = 0
        for number in range(2 * rounds):
            way = 'with' if number % 2 else 'without'
            listener.latencies_ms = []
            began_s, used_s = time.monotonic(), cpu_s(nodes.pid)
            while time.monotonic() - began_s < seconds:
                if way == 'with':
                    pressed_s = time.perf_counter()
                    client.teach('lid', presses % 2 == 0)
                    answered_ms.append((time.perf_counter() - pressed_s) * 1e3)
                    presses += 1
                    listener.await_presses((presses + 1) // 2, presses // 2)
                    shown_ms.append((time.perf_counter() - pressed_s) * 1e3)
                time.sleep(1.0)
            latencies_ms[way] += listener.latencies_ms
            cpu[way].append((cpu_s(nodes.pid) - used_s) / (time.monotonic() - began_s))
    return {
        'presses': presses,
        'press_to_score_ms': percentiles(shown_ms),
        'press_to_answer_ms': percentiles(answered_ms),
        'score_latency_ms': {way: percentiles(found) for way, found in latencies_ms.items()},
        'nodes_cpu_percent': {w: round(float(np.mean(s)) * 100, 1) for w, s in cpu.items()},
    }


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """Median, 95th percentile and number of some values."""
    return {f'p{q}': round(float(np.percentile(values_ms, q)), 1) for q in (50, 95)} | {
        'count': len(values_ms)
    }


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=10.0, help='of a stretch')
    parser.add_argument('--domain', type=int, default=74, help='ROS domain; default 74')
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = str(args.domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    load = os.getloadavg()[0]
    with robot(args.model) as nodes:
        found = measure(nodes, rounds=args.rounds, seconds=args.seconds)
    result = {
        'model': args.model,
        'load_before': round(load, 1),
        'command': 'python -m benchmarks.teaching_live',
        'rounds': args.rounds,
        'sensors': 'camera, depth, infrared and microphone at 10 Hz',
        'p95_target_ms': TARGET_MS,
        **found,
        'target_met': found['press_to_score_ms']['p95'] < TARGET_MS,
    }
    print(json.dumps(result, indent=2))
    print(f'written to {write_result("teaching_live", result)}')


if __name__ == '__main__':
    main()
