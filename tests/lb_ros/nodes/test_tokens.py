"""A composed robot reads predicates from tokens, as the Python API does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from encoders import Binder, Predicate, PredicateBank
from lb_ros.client import LanguageClient
from lb_ros.msg import PredicateScores
from tests.readouts import copy_with_readouts
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0
PREDICATES = """predicates:
  - {name: open, positive: [the drawer is open], negative: [the drawer is closed],
     modalities: [depth]}
  - {name: shut, positive: [the drawer is closed], negative: [the drawer is open],
     modalities: [depth]}
"""


def test_scores_and_queries_of_a_bringup_are_read_from_tokens(
    tiny_model_set: Path, ros_domain: int, tmp_path: Path
) -> None:
    folder = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=['depth'])
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['-p', f'model:={folder}', '-p', f'predicates:={predicates}']
    depth = np.random.default_rng(4).integers(500, 2000, (48, 64), dtype=np.uint16)
    binder = Binder.load(folder)
    evidence, vectors = binder.observe(depth=depth), binder.embed(depth=depth)
    bank = PredicateBank.load(predicates, binder)
    expected = bank.score(evidence).fused
    assert np.abs(expected - bank.score(vectors).fused).min() > 0.02
    sentence = 'a cup that is full'
    asked = PredicateBank([Predicate.from_sentence(sentence)], binder).score(evidence)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    heard: list[PredicateScores] = []
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.query(['a first question'], modalities=['depth'])
            context = client._listener.node.context
            node, executor = (
                Node('camera', context=context),
                SingleThreadedExecutor(context=context),
            )
            executor.add_node(node)
            camera = node.create_publisher(Image, 'depth/image', 1)
            node.create_subscription(PredicateScores, 'predicates/scores', heard.append, 10)
            message = Image(encoding='16UC1', height=48, width=64, step=128, data=depth.tobytes())

            def seen() -> bool:
                message.header.stamp = node.get_clock().now().to_msg()
                camera.publish(message)
                executor.spin_once(timeout_sec=0.05)
                return bool(heard) and bool(heard[-1].scores[0].modalities)

            wait_until(seen, limit_s=LIMIT_S)
            (answer,) = client.query([sentence], modalities=['depth'], max_age_ms=60_000.0)
            node.destroy_node()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    scores = {score.name: score for score in heard[-1].scores}
    for name, probability in zip(('open', 'shut'), expected, strict=True):
        # The worker encodes the same image in a batch of another size.
        assert scores[name].probability == pytest.approx(float(probability), abs=2e-3)
        assert not any('vector' in reason for reason in scores[name].reasons)
    assert scores['open'].probability + scores['shut'].probability == pytest.approx(1, abs=1e-6)
    assert answer.probability['depth'] == pytest.approx(float(asked.fused[0]), abs=2e-3)
