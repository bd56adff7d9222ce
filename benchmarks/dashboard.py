"""The dashboard under load: 50 predicates, ten minutes of history, four sensors at 10 Hz.

Frames per second are measured in headless Chromium while new scores arrive; the server's share of
a core is measured over DDS without and with a viewer. This program simulates the robot: it
publishes synthetic scores and embeddings at the rate of real nodes.

    python -m benchmarks.dashboard
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from playwright.sync_api import sync_playwright
from rclpy.node import Node

from benchmarks.environment import write_result
from encoders import SENSED, Binder
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import Embedding, PredicateScore, PredicateScores, PredicateState, PredicateStates
from lb_ros.ros.qos import LATCHED, NEWEST
from lb_ros.ros.stamps import to_stamp

PREDICATES = 50
RATE_HZ = 10.0
MEASURE_S = 20.0
QUESTION = 'the drawer is open'
COUNT_FRAMES = """() => {
  window.lbFrames = 0;
  const count = () => { window.lbFrames += 1; requestAnimationFrame(count); };
  requestAnimationFrame(count);
}"""


class Robot(Node):
    """Publisher of scores of all predicates and an embedding of every sensor at 10 Hz."""

    def __init__(self, model: str) -> None:
        super().__init__('robot')
        binder = Binder.load(model, modalities=SENSED[:1])
        self._model, self._space = binder.model, binder.space
        self._rng = np.random.default_rng(0)
        self._scores = self.create_publisher(PredicateScores, 'predicates/scores', 10)
        self._states = self.create_publisher(PredicateStates, 'predicates/state', LATCHED)
        self._embeddings = {
            m: self.create_publisher(Embedding, f'embeddings/{m}', NEWEST) for m in SENSED
        }

    def work(self, stop: threading.Event) -> None:
        """Publish randomly varying probabilities until `stop` is set."""
        values = self._rng.random((PREDICATES, len(SENSED)))
        while not stop.wait(1 / RATE_HZ):
            now = to_stamp(self.get_clock().now().nanoseconds)
            steps = self._rng.normal(0, 0.03, values.shape)
            values = np.clip(values + steps, 0, 1)
            scores = PredicateScores(language_space=self._space, latency_ms=40.0)
            scores.header.stamp = now
            scores.scores = [
                PredicateScore(
                    name=f'predicate {index}', modalities=list(SENSED), similarities=row.tolist(),
                    probabilities=row.tolist(), ages_ms=[5.0] * 4, probability=float(row.mean()),
                )
                for index, row in enumerate(values)
            ]  # fmt: skip
            self._scores.publish(scores)
            states = [
                PredicateState(name=f'predicate {i}', state=int(1 + (row[0] > 0.5)), reason='-')
                for i, row in enumerate(values)
            ]
            message = PredicateStates(states=states)
            message.header.stamp = now
            self._states.publish(message)
            for modality, publisher in self._embeddings.items():
                vector = self._rng.normal(size=384)
                vector /= np.linalg.norm(vector)
                embedding = Embedding(modality=modality, vector=vector.tolist())
                embedding.model, embedding.language_space = self._model, self._space
                embedding.header.stamp = now
                publisher.publish(embedding)


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--fill-s', type=float, default=600.0, help='history before measuring')
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '72'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    command = [sys.executable, '-m', 'lb_ros.cli', 'dashboard', '--port', '0']
    dashboard = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    use_dds_profile()
    rclpy.init()
    stop = threading.Event()
    robot = Robot(args.model)
    thread = threading.Thread(target=robot.work, args=(stop,))
    thread.start()
    try:
        assert dashboard.stdout is not None
        found = re.search(r'http\S+', dashboard.stdout.readline())
        assert found is not None, 'the dashboard did not start'
        time.sleep(args.fill_s)
        alone = cpu_share(dashboard.pid, MEASURE_S)
        measured = {'history_s': args.fill_s, 'server_share_without_viewer': alone}
        measured |= watch(found[0], dashboard.pid)
    finally:
        stop.set()
        thread.join()
        dashboard.terminate()
        dashboard.wait(30)
        robot.destroy_node()
        rclpy.shutdown()
    measured |= {'predicates': PREDICATES, 'load_average': os.getloadavg()}
    path = write_result('dashboard', measured)
    print(f'{json.dumps(measured, indent=2)}\nwritten to {path}')


def watch(url: str, pid: int) -> dict[str, Any]:
    """Frames per second, and the time from a question to its timeline, in a browser."""
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which('chromium'), args=['--no-sandbox']
        )
        page = browser.new_page(viewport={'width': 1280, 'height': 900})
        page.goto(url)
        page.wait_for_function(f'lb.timeline.rows.size >= {PREDICATES}', timeout=120_000)
        page.select_option('#span', '600')
        page.evaluate(COUNT_FRAMES)
        share = cpu_share(pid, MEASURE_S)
        frames = page.evaluate('window.lbFrames')
        began_s = time.perf_counter()
        page.fill('#sentence', QUESTION)
        page.keyboard.press('Enter')
        page.wait_for_function(
            f"lb.timeline.rows.get('{QUESTION}')?.data[0].length > 0", polling=10
        )
        asked_s = time.perf_counter() - began_s
        browser.close()
    return {
        'frames_per_second': round(frames / MEASURE_S, 1),
        'server_share_with_viewer': share,
        'question_to_timeline_s': round(asked_s, 3),
    }


def cpu_share(pid: int, seconds: float) -> float:
    """Share of a core that a process uses, over some seconds."""
    before = _cpu_s(pid)
    time.sleep(seconds)
    return round((_cpu_s(pid) - before) / seconds, 3)


def _cpu_s(pid: int) -> float:
    with open(f'/proc/{pid}/stat') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


if __name__ == '__main__':
    main()
