"""A part of a view as a sensor of a running robot: topics, scores, queries, diagnostics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, RegionOfInterest

from encoders import Binder, Predicate, PredicateBank
from lb_ros.client import LanguageClient, NotAnsweredError
from lb_ros.msg import Embedding, PredicateScores
from lb_ros.ros.qos import NEWEST
from tests.readouts import copy_with_readouts
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0
SENTENCE = 'the drawer is open'
PREDICATES = f"""predicates:
  near: {{positive: [{SENTENCE}], negative: [the drawer is closed], modalities: [depth@near]}}
  cup: {{positive: [{SENTENCE}], negative: [the drawer is closed], modalities: [depth@cup]}}
"""
PART = 'depth@near'


def start(name: str, folder: Path, predicates: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, '-m', 'lb_ros.start', name, '--ros-args']
    command += ['-p', f'model:={folder}', '-p', f'predicates:={predicates}', *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize('nodes', [('bringup',), ('depth_encoder', 'predicates')])
def test_a_part_of_a_view_is_a_sensor(
    nodes: tuple[str, ...], tiny_model_set: Path, ros_domain: int, tmp_path: Path
) -> None:
    folder = copy_with_readouts(tiny_model_set, tmp_path / 'set', modalities=['depth'])
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    depth = np.random.default_rng(4).integers(500, 2000, (48, 64), dtype=np.uint16)
    binder = Binder.load(folder)
    evidence = binder.observe(depth=depth[24:, 16:48])['depth']
    bank = PredicateBank(
        [Predicate('near', (SENTENCE,), ('the drawer is closed',), (PART,))],
        binder,
        regions=[PART],
    )
    (expected,) = bank.score({PART: evidence})
    regions = 'near=depth:0.25,0.5,0.5,0.5; cup=depth:box:tracker/cup'
    region = ('-p', f'regions:={regions}', '-p', 'precision:=fp32')
    of_cup = binder.embed(depth=depth[10:30, 5:40])['depth'][0]
    processes = [start(name, folder, predicates, *region) for name in nodes]
    heard: list[PredicateScores] = []
    embeddings: list[Embedding] = []
    entries: dict[str, DiagnosticStatus] = {}
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.query(['a first question'], modalities=['depth'])
            context = client._listener.node.context
            node = Node('camera', context=context)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)
            camera = node.create_publisher(Image, 'depth/image', 1)
            node.create_subscription(PredicateScores, 'predicates/scores', heard.append, 10)
            node.create_subscription(Embedding, 'embeddings/depth/near', embeddings.append, NEWEST)
            node.create_subscription(
                DiagnosticArray,
                '/diagnostics',
                lambda message: entries.update({s.name: s for s in message.status}),
                10,
            )
            cups: list[Embedding] = []
            node.create_subscription(Embedding, 'embeddings/depth/cup', cups.append, NEWEST)
            boxes = node.create_publisher(RegionOfInterest, 'tracker/cup', 1)
            box = RegionOfInterest(x_offset=5, y_offset=10, width=35, height=20)
            message = Image(encoding='16UC1', height=48, width=64, step=128, data=depth.tobytes())

            def seen() -> bool:
                message.header.stamp = node.get_clock().now().to_msg()
                camera.publish(message)
                executor.spin_once(timeout_sec=0.05)
                is_scored = bool(heard) and bool(heard[-1].scores[0].modalities)
                values = {
                    pair.key: pair.value
                    for pair in getattr(entries.get('/depth/image@near'), 'values', ())
                }
                is_encoded = values.get('encoded', '0') != '0'
                return is_scored and bool(embeddings) and bool(cups) and is_encoded

            wait_until(seen, limit_s=LIMIT_S)
            assert cups[-1].invalid_reason == 'no box yet'
            assert f'depth@cup: {cups[-1].invalid_reason}' in heard[-1].scores[1].reasons

            def followed() -> bool:
                boxes.publish(box)
                seen()
                return not cups[-1].invalid_reason

            wait_until(followed, limit_s=LIMIT_S)
            (answer,) = client.query([SENTENCE], modalities=[PART], max_age_ms=60_000.0)
            with pytest.raises(
                NotAnsweredError, match=r"unknown modality 'depth@far'.*depth@near"
            ):
                client.query([SENTENCE], modalities=['depth@far'])
            node.destroy_node()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate(timeout=LIMIT_S)
    assert embeddings[-1].modality == PART
    np.testing.assert_allclose(embeddings[-1].vector, evidence.vector, atol=1e-4)
    np.testing.assert_allclose(cups[-1].vector, of_cup, atol=1e-4)
    score = heard[-1].scores[0]
    assert list(score.modalities) == [PART]
    assert score.probabilities[0] == pytest.approx(expected.probability[PART], abs=1e-3)
    assert list(answer.probability) == [PART]
    (asked,) = PredicateBank([Predicate.from_sentence(SENTENCE, name='q')], binder).score(
        {'depth': evidence}
    )
    assert answer.probability[PART] == pytest.approx(asked.probability['depth'], abs=1e-3)


def test_a_region_that_cannot_be_encoded_ends_the_start_with_its_reason(
    tiny_model_set: Path, ros_domain: int, tmp_path: Path
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text('predicates: [the drawer is open]')
    words = ('-p', 'modalities:=image', '-p', 'regions:=near=depth:0,0,1,1')
    process = start('bringup', tiny_model_set, predicates, *words)
    _, error = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert 'parameter regions: near is of depth, which is not in the parameter' in error
