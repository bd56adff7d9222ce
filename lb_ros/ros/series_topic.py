"""Subscriptions to the messages of a series: one topic, or those of described channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState

from encoders.decode.channels import TopicMessage
from lb_ros.ros.message_types import import_type, type_name
from lb_ros.ros.polled import Polled, Taken, take_all
from lb_ros.ros.qos import SERIES, publishers_line, subscribe
from lb_ros.ros.timers import every

POLL_S = 0.02
TYPES = {'wrench': WrenchStamped, 'joints': JointState, 'imu': Imu}


class SeriesTopic:
    """Polls one topic of a series every `POLL_S`.

    Args:
        node: Owner of the subscription and the timer.
        modality: Modality of a series.
        topic: Relative name.
        store: Receives the messages of a poll in order of arrival; at least one.
        on_mismatch: Called with the topic and the QoS policy in which its publisher is
            incompatible.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        topic: str,
        *,
        store: Callable[[Sequence[Taken]], None],
        on_mismatch: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self.subscription = _polled(node, TYPES[modality], topic, on_mismatch)
        every(node, POLL_S, self._poll)

    def _poll(self) -> None:
        taken = take_all(self.subscription)
        if taken:
            self._store(taken)


class DescribedTopics:
    """Polls the topics of described channels, with the types that their publishers have.

    Args:
        node: Owner of the subscriptions and the timer.
        store: Receives the messages of a poll, each a `TopicMessage`, in order of arrival.
        on_mismatch: As for `SeriesTopic`.
        warn: Receives a line, once, on a type whose package is not installed.

    Attributes:
        subscriptions: Subscription by topic; a topic without a publisher has none.
    """

    def __init__(
        self,
        node: Node,
        *,
        store: Callable[[Sequence[Taken]], None],
        on_mismatch: Callable[[str, str], None],
        warn: Callable[[str], object],
    ) -> None:
        self._node, self._store = node, store
        self._on_mismatch, self._warn = on_mismatch, warn
        self.subscriptions: dict[str, Subscription] = {}
        self._topics: Sequence[str] = ()
        self._unknown: set[str] = set()
        every(node, POLL_S, self._poll)

    def follow(self, topics: Sequence[str]) -> None:
        """Subscribe to these topics, and to no other, as far as their types are known now."""
        self._topics = topics
        for topic in [*self.subscriptions.keys() - set(topics)]:
            self._node.destroy_subscription(self.subscriptions.pop(topic))
        for topic in topics:
            names = self._published(topic)
            current = self.subscriptions.get(topic)
            if not names or (current is not None and type_name(current.msg_type) in names):
                continue
            self._subscribe(topic, names[0])

    def why_silent(self) -> str:
        """Return a line that may explain why no messages arrive."""
        topics = {topic: self._node.resolve_topic_name(topic) for topic in self._topics}
        absent = [resolved for topic, resolved in topics.items() if not self._published(topic)]
        if absent:
            return f'no publisher of {", ".join(absent)}'
        if self._unknown:
            return f'not installed here: {", ".join(sorted(self._unknown))}'
        kinds = [type_name(each.msg_type) for each in self.subscriptions.values()]
        return publishers_line(self._node, [*topics.values()], kinds)

    def _published(self, topic: str) -> list[str]:
        """Return the types of a topic's publishers, each once."""
        infos = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
        return [*dict.fromkeys(info.topic_type for info in infos)]

    def _subscribe(self, topic: str, name: str) -> None:
        kind = import_type(name)
        if kind is None:
            if name not in self._unknown:
                self._unknown.add(name)
                self._warn(f'{topic} carries {name}, but that package is not installed here')
            return
        if topic in self.subscriptions:
            self._node.destroy_subscription(self.subscriptions.pop(topic))
        self.subscriptions[topic] = _polled(self._node, kind, topic, self._on_mismatch)

    def _poll(self) -> None:
        found = [
            Taken(TopicMessage(topic, each.message), each.waited_ns)
            for topic, subscription in self.subscriptions.items()
            for each in take_all(subscription)
        ]
        if found:
            self._store(sorted(found, key=lambda each: -each.waited_ns))


def _polled(
    node: Node, kind: type, topic: str, on_mismatch: Callable[[str, str], None]
) -> Subscription:
    return subscribe(
        node, kind, topic, _ignore, qos=SERIES, on_mismatch=on_mismatch, group=Polled()
    )


def _ignore(message: Any) -> None:
    """Messages are taken by polling."""
