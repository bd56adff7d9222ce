"""Conversion of scores and states to ROS messages, through serialisation and back."""

from __future__ import annotations

import math

import pytest

pytest.importorskip('rclpy')

from rclpy.serialization import deserialize_message, serialize_message

from encoders import State, TrackedState
from encoders.predicates.score_arrays import MESSAGES_MAX, ages_in, scores_in
from encoders.predicates.state_arrays import states_in
from lb_ros.cli.watch import Seen, as_values
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.ros.messages import scores_message, states_message, unknown_states
from tests.train.score.test_score_messages import START_NS, evaluation_of


@pytest.mark.parametrize('count', [1, MESSAGES_MAX, MESSAGES_MAX + 1])
def test_scores_survive_their_message(count: int) -> None:
    evaluation = evaluation_of(count)
    sent = scores_message(evaluation, now_ns=START_NS + 50_000_000, score_ms=1.5)
    message = deserialize_message(serialize_message(sent), PredicateScores)
    assert (len(message.scores), len(message.names)) == (
        (count, 0) if count <= MESSAGES_MAX else (0, count)
    )
    assert message.latency_ms == pytest.approx(50) and message.score_ms == 1.5
    for found, expected in zip(scores_in(message), evaluation.scores, strict=True):
        assert (found.name, found.reasons) == (expected.name, expected.reasons)
        assert (found.calibrated, found.can_tell) == (expected.calibrated, expected.can_tell)
        assert found.probability == pytest.approx(expected.probability)
        assert found.similarity == pytest.approx(expected.similarity)
        if expected.can_tell:
            assert found.fused == pytest.approx(expected.fused)
    ages = {m: age for m, age in evaluation.ages_ms.items() if count > 1}
    assert ages_in(message) == pytest.approx(ages)


@pytest.mark.parametrize('count', [1, MESSAGES_MAX, MESSAGES_MAX + 1])
def test_states_survive_their_message(count: int) -> None:
    expected = evaluation_of(count).states
    for sent, states in (
        (states_message(expected, now_ns=START_NS), expected),
        (
            unknown_states(list(expected), 'deactivated', now_ns=START_NS),
            dict.fromkeys(
                expected, TrackedState(State.UNKNOWN, 0.5, START_NS * 1e-6, 'deactivated')
            ),
        ),
    ):
        message = deserialize_message(serialize_message(sent), PredicateStates)
        assert (len(message.states), len(message.names)) == (
            (count, 0) if count <= MESSAGES_MAX else (0, count)
        )
        assert message.header.stamp.sec * 10**9 == START_NS
        found = states_in(message)
        assert list(found) == list(states)
        for name, tracked in found.items():
            assert (tracked.state, tracked.reason) == (states[name].state, states[name].reason)
            assert tracked.probability == pytest.approx(states[name].probability)
            assert tracked.since_ms == pytest.approx(states[name].since_ms, abs=1e-3)


def test_both_forms_show_the_same_in_watch() -> None:
    shown = []
    for count in (MESSAGES_MAX, MESSAGES_MAX + 1):
        seen = Seen()
        evaluation = evaluation_of(count)
        seen.take_scores(scores_message(evaluation, now_ns=START_NS, score_ms=0.0))
        seen.take_states(states_message(evaluation.states, now_ns=START_NS))
        shown.append(as_values(seen)['predicates'])
        assert math.isnan(seen.courses['p0'][-1]) and seen.courses['p1'][-1] > 0
    assert len(shown[1]) == MESSAGES_MAX + 1
    for name, values in shown[0].items():
        assert shown[1][name]['by_modality'] == pytest.approx(values['by_modality'])
        assert {**shown[1][name], 'by_modality': 0, 'probability': 0} == {
            **values, 'by_modality': 0, 'probability': 0,
        }  # fmt: skip
        assert shown[1][name]['probability'] == pytest.approx(values['probability'])
