"""Subscriptions of `predicates` to the evidence of encoders in other processes."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from rclpy.node import Node
from rclpy.subscription import Subscription

from encoders import LIVE
from encoders.regions import topic_of
from lb_ros.engine.arrival import Encoded
from lb_ros.msg import Embedding
from lb_ros.ros.embeddings import encoded_of
from lb_ros.ros.qos import NEWEST


class EvidenceTopics:
    """Subscribes to one topic per sensor: with tokens only while they are needed.

    Encoders publish `evidence/<modality>`, and compute tokens, only while that topic has a
    subscriber; `embeddings/<modality>` stays small for everyone else.

    Args:
        node: Owner of the subscriptions.
        receive: Called with every usable embedding.
        sensors: Modalities, and parts of their views, to subscribe to.
    """

    def __init__(
        self,
        node: Node,
        receive: Callable[[Encoded], None],
        *,
        sensors: Sequence[str] = LIVE,
    ) -> None:
        self._node, self._receive, self._sensors = node, receive, sensors
        self._refused: set[str] = set()
        self._subscriptions: dict[str, tuple[str, Subscription]] = {}
        self.follow(())

    def follow(self, tokens: Container[str]) -> None:
        """Receive tokens of exactly these sensors; call it from the node's executor."""
        for sensor in self._sensors:
            topic = f'{"evidence" if sensor in tokens else "embeddings"}/{topic_of(sensor)}'
            before = self._subscriptions.get(sensor)
            if before is not None and before[0] == topic:
                continue
            made = self._node.create_subscription(Embedding, topic, self._take, NEWEST)
            self._subscriptions[sensor] = topic, made
            if before is not None:
                self._node.destroy_subscription(before[1])

    def _take(self, message: Embedding) -> None:
        try:
            encoded = encoded_of(message)
        except ValueError as error:
            if message.modality not in self._refused:  # one line per modality, not one per message
                self._refused.add(message.modality)
                line = f'evidence/{message.modality} from {message.source} refused: {error}'
                self._node.get_logger().error(line)
            return
        self._receive(encoded)
