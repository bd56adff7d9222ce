"""Subscriptions to the messages of a series: one topic, or those of described channels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from geometry_msgs.msg import WrenchStamped
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState

from encoders.decode.channels import TopicMessage
from lb_ros.ros.message_types import import_type, type_name
from lb_ros.ros.polled import Polled, Taken, take_all
from lb_ros.ros.qos import SERIES, publishers_line, subscribe
from lb_ros.ros.timers import every

POLL_S = 0.02
CLOSE_S = 2.0
ERROR_PERIOD_S = 5.0
# Shown by `top -H`; at most 15 characters.
THREAD = 'series input'
TYPES = {'wrench': WrenchStamped, 'joints': JointState, 'imu': Imu}


class SeriesTopic:
    """Polls one topic of a series every `POLL_S` on a thread of its own.

    A timer would wake the executor, which takes longer than to take the messages. Images stay with
    the executor: taking a large one took several times longer on another thread.

    Args:
        node: Owner of the subscription; call `close` before it is destroyed.
        modality: Modality of a series.
        topic: Relative name.
        store: Receives the messages of a poll in order of arrival, at least one; called on the
            thread.
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
        self._store, self._log, self._context = store, node.get_logger(), node.context
        self._closed = threading.Event()
        self.subscription = _polled(node, TYPES[modality], topic, on_mismatch)
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; wait for a call of `store`."""
        self._closed.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        with suppress(OSError):  # only Linux has it
            Path('/proc/thread-self/comm').write_text(THREAD)
        while not self._closed.wait(POLL_S) and self._context.ok():
            try:
                taken = take_all(self.subscription)
                if taken:
                    self._store(taken)
            except InvalidHandle:  # the node has been destroyed
                return
            except Exception as error:  # the next messages may be usable
                line = f'{self.subscription.topic_name}: {type(error).__name__}: {error}'
                self._log.error(line, throttle_duration_sec=ERROR_PERIOD_S)


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
