"""Quality of service of all topics, and descriptions of incompatible publishers.

Inputs request the least (best effort, volatile, no deadline, any liveliness), so that every
publisher is compatible. Parameters `qos_overrides.<topic>.subscription.<policy>` request more;
only then can a publisher be incompatible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions, QoSPolicyKind
from rclpy.subscription import Subscription

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
# No audio chunk may be lost; the queue holds two seconds for a busy process.
CHUNKS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.BEST_EFFORT
)
# Of a series, every message counts; the queue holds a second of one at 1 kHz between two polls.
SERIES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT
)
# States: a late subscriber gets the last message immediately.
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Requests and responses: many clients may call at once, and one event may end many waits, faster
# than a busy process takes them. The default of services keeps 10 and loses the others.
MANY = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1000)
LIVELINESS_S = 2.0
# Subscribers of embeddings are notified within `LIVELINESS_S` when the process dies or its worker
# hangs: the node asserts liveliness only while the worker makes progress.
ALIVE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
    liveliness_lease_duration=Duration(seconds=LIVELINESS_S),
)
# The publisher of states: latched, and alive while its process is. The middleware asserts
# liveliness on its own thread, so that a busy node does not seem dead. Subscriptions with `STATES`
# are notified when it dies; those with `LATCHED` are compatible as well.
NODE_LEASE_S = 3.0
STATES = QoSProfile(
    depth=1,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(seconds=NODE_LEASE_S),
)
OVERRIDES = QoSOverridingOptions(
    (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
)


Message = TypeVar('Message')


class Matched(Protocol):
    """rclpy's event when publishers or subscriptions of a topic come or go."""

    current_count: int


class Incompatible(Protocol):
    """rclpy's event when a publisher or subscription is incompatible."""

    last_policy_kind: int


def subscribe(
    node: Node,
    kind: type[Message],
    topic: str,
    callback: Callable[[Message], None],
    *,
    qos: QoSProfile,
    on_mismatch: Callable[[str, str], None],
    on_matched: Callable[[int], None] | None = None,
    group: CallbackGroup | None = None,
) -> Subscription:
    """Subscribe with QoS overrides by parameters; report incompatible publishers.

    Args:
        node: Owner of the subscription.
        kind: Message class.
        topic: Relative name.
        callback: Called with every message.
        qos: Quality of service before overrides.
        on_mismatch: Called with the topic and the policy when an incompatible publisher is
            discovered; its name becomes known slightly later, see `mismatch_line`.
        on_matched: Called with the number of compatible publishers whenever it changes.
        group: Callback group of the subscription; None for that of the node.
    """

    def incompatible(event: Incompatible) -> None:
        on_mismatch(topic, qos_policy_name_from_kind(event.last_policy_kind))

    def matched(event: Matched) -> None:
        if on_matched is not None:
            on_matched(event.current_count)

    return node.create_subscription(
        kind,
        topic,
        callback,
        qos,
        event_callbacks=SubscriptionEventCallbacks(
            incompatible_qos=incompatible, matched=None if on_matched is None else matched
        ),
        callback_group=group,
        qos_overriding_options=OVERRIDES,
    )


def mismatch_line(node: Node, topic: str, wanted: QoSProfile, policy: str) -> str:
    """Return a line that names the incompatible publishers of a topic and the remedy."""
    resolved = node.resolve_topic_name(topic)
    odd = [
        f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in node.get_publishers_info_by_topic(resolved)
        if str(qos_check_compatible(info.qos_profile, wanted)[0]).endswith('ERROR')
    ]
    who = ', '.join(odd) or 'a publisher'
    return (
        f'{who} offers incompatible quality of service on {resolved}, policy {policy}; this node '
        f'asks for {wanted.reliability.name} and {wanted.durability.name}: change the publisher, '
        f'or the parameter qos_overrides.{resolved}.subscription.*'
    )


def publishers_line(node: Node, topics: Sequence[str], kinds: Sequence[str]) -> str:
    """Return a line on the publishers of some topics that may explain why no messages arrive."""
    infos = [i for t in topics for i in node.get_publishers_info_by_topic(t)]
    if not infos:
        return 'no publisher'
    others = sorted({info.topic_type for info in infos if info.topic_type not in kinds})
    if others and all(info.topic_type not in kinds for info in infos):
        return f'its publisher sends {", ".join(others)}, expected {" or ".join(kinds)}'
    count = len(infos)
    return f'{count} publisher{"s" if count > 1 else ""}, but no messages'


__all__ = [
    'ALIVE',
    'CHUNKS',
    'LIVELINESS_S',
    'NEWEST',
    'DurabilityPolicy',
    'mismatch_line',
    'publishers_line',
    'subscribe',
]
