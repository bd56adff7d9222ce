"""Recorded scores and states are read in both forms, also from bags of before the arrays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from encoders import Predicate, PredicateBank
from encoders.predicates.score_arrays import MESSAGES_MAX, scores_in
from encoders.predicates.scoring import Evaluation, Scoring
from encoders.predicates.state_arrays import states_in
from tests.encoders.predicates.test_scores_of_many import Sentences, units
from train.bags.reader import BagReport, read_bag
from train.score.annotate import new_message, own_types, scores_message, states_message
from train.score.track import Scored

TOPIC, KIND = 'predicates/scores', 'lb_ros/msg/PredicateScores'
STATES_TOPIC, STATES_KIND = 'predicates/state', 'lb_ros/msg/PredicateStates'
START_NS = 1_700_000_000_000_000_000
# The definitions of the last version without arrays.
BEFORE = """
std_msgs/Header header
string language_space
PredicateScore[] scores
float32 latency_ms
float32 score_ms
"""
SCORE_BEFORE = """
string name
string[] modalities
float32[] similarities
float32[] probabilities
float32[] ages_ms
float32 probability
bool calibrated
string[] reasons
"""


def evaluation_of(count: int) -> Evaluation:
    """Every third predicate asks depth alone, which has no evidence."""
    predicates = [
        Predicate(f'p{i}', (f'yes {i}',), (f'no {i}',), modalities=() if i % 3 else ('depth',))
        for i in range(count)
    ]
    scoring = Scoring(PredicateBank(predicates, Sentences()))  # type: ignore[arg-type]
    for modality in ('image', 'audio'):
        (vector,) = units(np.random.default_rng(0), 1)
        scoring.receive(modality, vector, stamp_ns=START_NS, space='random')
    return scoring.evaluate(START_NS + 40_000_000)


def write_bag(
    path: Path, store: Any, message: Any, *, topic: str = TOPIC, kind: str = KIND
) -> Path:
    with path.open('wb') as stream:
        writer = Writer(stream)
        writer.start(profile='ros2', library='test')
        definition = store.generate_msgdef(kind, ros_version=2)[0]
        schema = writer.register_schema(kind, 'ros2msg', definition.encode())
        channel = writer.register_channel(f'/{topic}', 'cdr', schema)
        raw = bytes(store.serialize_cdr(message, kind))
        writer.add_message(channel, START_NS, raw, START_NS)
        writer.finish()
    return path


def types_before() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(BEFORE, KIND))
    store.register(get_types_from_msg(SCORE_BEFORE, 'lb_ros/msg/PredicateScore'))
    return store


@pytest.mark.parametrize('count', [MESSAGES_MAX, MESSAGES_MAX + 1])
def test_scores_of_a_bag_are_those_of_the_evaluation(count: int, tmp_path: Path) -> None:
    evaluation, store = evaluation_of(count), own_types()
    moment = Scored(START_NS + 40_000_000, START_NS, ('image',), evaluation)
    bag = write_bag(tmp_path / 'new.mcap', store, scores_message(store, moment, 'random'))
    (message,) = read_bag(bag, topics=[TOPIC])
    assert bool(message.message.scores) == (count == MESSAGES_MAX)
    assert bool(message.message.names) == (count > MESSAGES_MAX)
    found = list(scores_in(message.message))
    assert [(s.name, s.reasons, s.can_tell) for s in found] == [
        (s.name, s.reasons, s.can_tell) for s in evaluation.scores
    ]
    for one, expected in zip(found, evaluation.scores, strict=True):
        assert one.probability == pytest.approx(expected.probability)
        assert one.similarity == pytest.approx(expected.similarity)
    assert dict(zip(scores_in(message.message).modalities, [40, 40], strict=True)) == (
        pytest.approx(evaluation.ages_ms)
    )


@pytest.mark.parametrize('count', [MESSAGES_MAX, MESSAGES_MAX + 1])
def test_states_of_a_bag_are_those_of_the_evaluation(count: int, tmp_path: Path) -> None:
    evaluation, store = evaluation_of(count), own_types()
    moment = Scored(START_NS + 40_000_000, START_NS, ('image',), evaluation)
    message = states_message(store, moment)
    bag = write_bag(tmp_path / 'new.mcap', store, message, topic=STATES_TOPIC, kind=STATES_KIND)
    (read,) = read_bag(bag, topics=[STATES_TOPIC])
    assert bool(read.message.states) == (count == MESSAGES_MAX)
    found = states_in(read.message)
    assert [(n, s.state, s.reason) for n, s in found.items()] == [
        (n, s.state, s.reason) for n, s in evaluation.states.items()
    ]
    assert {s.since_ms for s in found.values()} == {0.0}


def test_states_whose_arrays_differ_in_length_are_refused() -> None:
    message = SimpleNamespace(
        states=[], names=['a', 'b'], values=b'\x01\x02', probabilities=[0.1, 0.9],
        since_ns=[0, 0], reasons=['only one'],
    )  # fmt: skip
    with pytest.raises(ValueError, match='PredicateStates of 2 names'):
        states_in(message)


def test_a_bag_from_before_the_arrays_is_read(tmp_path: Path) -> None:
    store = types_before()
    entry = new_message(
        store, 'lb_ros/msg/PredicateScore', name='drawer', modalities=['depth'],
        similarities=np.array([0.1], np.float32), probabilities=np.array([0.8], np.float32),
        ages_ms=np.array([12], np.float32), probability=0.8, calibrated=True,
        reasons=['audio silent'],
    )  # fmt: skip
    time = store.types['builtin_interfaces/msg/Time'](sec=START_NS // 10**9, nanosec=0)
    header = store.types['std_msgs/msg/Header'](stamp=time, frame_id='')
    message = new_message(store, KIND, header=header, language_space='s', scores=[entry])
    bag = write_bag(tmp_path / 'old.mcap', store, message)
    report = BagReport(bag)
    (read,) = read_bag(bag, topics=[TOPIC], report=report)
    assert not report.problems and not hasattr(read.message, 'names')
    (score,) = scores_in(read.message)
    assert score.name == 'drawer' and score.calibrated and score.reasons == ('audio silent',)
    assert score.probability == pytest.approx({'depth': 0.8})
    assert score.fused == pytest.approx(0.8)
