"""Topics on which the embeddings of one sensor are published."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

from encoders.regions import topic_of
from lb_ros.engine.arrival import Encoded
from lb_ros.msg import Embedding
from lb_ros.ros.embeddings import add_tokens, embedding_message
from lb_ros.ros.qos import ALIVE


class Outputs:
    """`embeddings/<sensor>`, and `evidence/<sensor>` with tokens, of a modality or a part of it.

    Tokens are large: they are published, and computed, only while they have subscribers.

    Args:
        node: Owner of the publishers, which publish while it is active.
        sensor: Modality, or part of its view: `depth@gripper` has `embeddings/depth/gripper`.
    """

    def __init__(self, node: LifecycleNode, sensor: str) -> None:
        create, topic = node.create_lifecycle_publisher, topic_of(sensor)
        self._embeddings = create(Embedding, f'embeddings/{topic}', ALIVE)
        self._evidence = create(Embedding, f'evidence/{topic}', ALIVE)

    def publish(self, encoded: Encoded, *, source: str) -> None:
        """Publish an embedding of the sensor, with tokens where they have subscribers.

        Args:
            encoded: The embedding.
            source: Full name of the topic of its message.
        """
        message = embedding_message(encoded, source=source)
        self._embeddings.publish(message)
        if self.tokens_are_heard:
            if encoded.tokens is not None:
                add_tokens(message, encoded.tokens, readout=encoded.readout)
            self._evidence.publish(message)

    @property
    def is_heard(self) -> bool:
        """Whether the embeddings have subscribers, with or without tokens."""
        return bool(self._embeddings.get_subscription_count()) or self.tokens_are_heard

    @property
    def tokens_are_heard(self) -> bool:
        """Whether the tokens have subscribers."""
        return bool(self._evidence.get_subscription_count())

    def assert_liveliness(self) -> None:
        """Tell the subscribers that the node is alive."""
        self._embeddings.assert_liveliness()
        self._evidence.assert_liveliness()
