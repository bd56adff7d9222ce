"""A bag that is played into running nodes and the same bag scored from its file agree."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rclpy

from encoders import Binder, load_predicates
from tests.waiting import wait_until
from train.bags.reader import BagReport
from train.score.embed import BagSource, embed_bag
from train.score.track import Scored, track
from train.score.windows import SensorTopics

pytestmark = pytest.mark.ros

LIMIT_S = 150.0
SETTLED_NS = 700_000_000
PREDICATES = """
predicates:
  a drawer is open: {positive: [the drawer is open], negative: [the drawer is closed]}
  the stove is hot: {positive: [the stove is hot], negative: [the stove is cold]}
  something was dropped: {positive: [something was dropped], negative: [nothing was dropped]}
"""


def play(bag: Path, predicates: Path) -> tuple[list[Any], list[Any], int]:
    """Scores and states that the nodes publish, and the stamp of the first truth."""
    from lb_ros.demo.listener import TRUTH_QOS
    from lb_ros.msg import PredicateScores, PredicateStates, PredicateTruth
    from lb_ros.ros.qos import LATCHED
    from lb_ros.ros.stamps import to_ns

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('listener', context=context)
    scores: list[Any] = []
    states: list[Any] = []
    truths: list[Any] = []
    node.create_subscription(PredicateScores, 'predicates/scores', scores.append, 1000)
    node.create_subscription(PredicateStates, 'predicates/state', states.append, LATCHED)
    node.create_subscription(PredicateTruth, 'ground_truth/predicates', truths.append, TRUTH_QOS)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    parameters = ['-p', f'predicates:={predicates}', '-p', 'precision:=fp32']
    commands = [
        ['-m', 'lb_ros.start', 'bringup', '--ros-args', *parameters],
        ['-m', 'lb_ros.demo.bag_player', str(bag), '--wait', str(LIMIT_S), '--after', 'bringup'],
    ]
    processes = [
        subprocess.Popen([sys.executable, *c], stdout=subprocess.DEVNULL) for c in commands
    ]
    try:
        spin = partial(executor.spin_once, timeout_sec=0.1)
        wait_until(lambda: processes[1].poll() is not None, limit_s=LIMIT_S, meanwhile=spin)
        assert processes[1].returncode == 0
        end_s = time.monotonic() + 1.0  # what is under way still arrives
        while time.monotonic() < end_s:
            spin()
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait(timeout=30)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return scores, states, to_ns(truths[0].header.stamp)


def offline(bag: Path, predicates: Path, store: Path) -> list[Scored]:
    binder = Binder.load('lb-mini', dtype='fp32')
    source = BagSource(bag, SensorTopics(), binder.modalities, 15.0)
    asked = load_predicates(predicates)
    embeddings = embed_bag(binder, source, store=store, report=BagReport(bag), predicates=asked)
    return list(track(binder, asked, embeddings))


def test_live_and_offline_agree(ros_domain: int, drawn: Any, tmp_path: Path) -> None:
    moments = [
        {'open(top drawer)': i % 6 > 2, 'hot(stove)': i > 8, 'dropped(something)': i == 5}
        for i in range(16)
    ]
    bag = drawn.write(tmp_path / 'bag', moments)
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    expected = offline(bag, predicates, tmp_path / 'store')
    first_truth_ns = expected[0].time_ns
    scores, states, live_truth_ns = play(bag, predicates)
    offset_ns = live_truth_ns - first_truth_ns

    known = {
        (round(moment.time_ns / 1e6), modality, score.name): score
        for moment in expected
        for modality in moment.fresh
        for score in moment.evaluation.scores
    }
    compared = set()
    for message in scores:
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        now_ms = (stamp_ns - offset_ns) / 1e6 + message.latency_ms
        for entry in message.scores:
            columns = (entry.modalities, entry.similarities, entry.probabilities, entry.ages_ms)
            for modality, similarity, probability, age_ms in zip(*columns, strict=True):
                key = (round(now_ms - age_ms), modality, entry.name)
                score = known[key]
                assert similarity == pytest.approx(score.similarity[modality], abs=1e-3), key
                assert probability == pytest.approx(score.probability[modality], abs=5e-3), key
                compared.add(key)
    assert len(compared) > 0.5 * len(known)  # a busy machine may skip some, newest wins
    assert {modality for _, modality, _ in compared} == {'image', 'depth', 'infrared', 'audio'}
    assert_states_agree(expected, states, offset_ns)


def assert_states_agree(expected: list[Scored], states: list[Any], offset_ns: int) -> None:
    """Wherever the offline state has been the same for a while, the live one is that one."""
    from lb_ros.ros.stamps import to_ns

    live = [
        (to_ns(m.header.stamp) - offset_ns, {s.name: s.state for s in m.states}) for m in states
    ]
    checked = 0
    for name in expected[0].evaluation.states:
        held = [(m.time_ns, int(m.evaluation.states[name].state)) for m in expected]
        for time_ns, state in held:
            around = {s for t, s in held if abs(t - time_ns) <= SETTLED_NS}
            if len(around) > 1 or time_ns + SETTLED_NS > held[-1][0]:
                continue
            before = [values[name] for t, values in live if t <= time_ns + SETTLED_NS // 2]
            assert before and before[-1] == state, (name, time_ns)
            checked += 1
    assert checked > 10
