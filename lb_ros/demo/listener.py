"""The node of the demonstration that subscribes to scores, states and ground truth."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSProfile

from encoders.predicates.score_arrays import scores_in
from encoders.predicates.state_arrays import states_in
from lb_ros.demo.recording import FUSED, Answer, Recording
from lb_ros.msg import PredicateScores, PredicateStates, PredicateTruth
from lb_ros.ros.qos import LATCHED
from lb_ros.ros.stamps import to_ns

TRUTH_QOS = QoSProfile(depth=100)


class Listener(Node):
    """Stores received messages in a recording."""

    def __init__(self, recording: Recording) -> None:
        super().__init__('demo')
        self._recording = recording
        self._newest_s = 0.0
        self.create_subscription(PredicateScores, 'predicates/scores', self._scores, 50)
        self.create_subscription(PredicateStates, 'predicates/state', self._states, LATCHED)
        self.create_subscription(PredicateTruth, 'ground_truth/predicates', self._truth, TRUTH_QOS)

    def _scores(self, message: PredicateScores) -> None:
        sensed_s = to_ns(message.header.stamp) * 1e-9
        if sensed_s > self._newest_s:  # an evaluation without new evidence has no latency
            self._newest_s = sensed_s
            self._recording.latencies_ms.append(message.latency_ms)
        for score in scores_in(message):
            if score.probability:
                probability = score.probability | {FUSED: score.fused}
                self._recording.answers[score.name].append(Answer(sensed_s, probability))

    def _states(self, message: PredicateStates) -> None:
        at_s = to_ns(message.header.stamp) * 1e-9
        for name, tracked in states_in(message).items():
            known = self._recording.states[name]
            if not known or known[-1][1] != tracked.state:
                known.append((at_s, tracked.state))

    def _truth(self, message: PredicateTruth) -> None:
        at_s = to_ns(message.header.stamp) * 1e-9
        for name, value in zip(message.predicates, message.values, strict=True):
            self._recording.truths[name].append((at_s, bool(value)))
