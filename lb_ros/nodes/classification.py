"""Scores as `vision_msgs/Classification`, for existing consumers of that type."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher

from encoders.predicates.scoring import Evaluation
from lb_ros.ros.stamps import to_stamp

TOPIC = 'predicates/classification'


class Classifications:
    """Topic `predicates/classification`; does nothing if `vision_msgs` is not installed.

    One hypothesis per predicate with an informative sensor: its name and its fused probability.
    The hypotheses are not mutually exclusive.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._publisher: LifecyclePublisher | None = None
        try:
            from vision_msgs.msg import Classification, ObjectHypothesis
        except ModuleNotFoundError:
            return
        self._message, self._hypothesis = Classification, ObjectHypothesis
        self._publisher = node.create_lifecycle_publisher(Classification, TOPIC, 10)

    def tell(self, evaluation: Evaluation) -> bool:
        """Publish an evaluation if the topic has subscribers; return whether it has."""
        if self._publisher is None or not self._publisher.get_subscription_count():
            return False
        message = self._message()
        message.header.stamp = to_stamp(evaluation.newest_ns)
        message.results = [
            self._hypothesis(class_id=score.name, score=float(score.fused))
            for score in evaluation.scores
            if score.can_tell
        ]
        self._publisher.publish(message)
        return True
