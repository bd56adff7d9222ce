"""Scores as `vision_msgs/Classification`, for whoever reads that already."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher

from encoders.predicates.scoring import Evaluation
from lb_ros.ros.stamps import to_stamp

TOPIC = 'predicates/classification'


class Classifications:
    """Topic `predicates/classification`, where `vision_msgs` is installed; else it does nothing.

    One hypothesis per predicate that a sensor can tell: its name and its fused probability. They
    do not exclude each other.
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
        """Publish an evaluation if anybody listens, and say whether somebody does."""
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
