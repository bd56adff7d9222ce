"""Subscriptions that are polled: messages at hundreds of hertz, taken some at a time.

An executor of rclpy passes every entity of its nodes to the middleware before each wait, which
takes longer than to take a message. A wrench at 500 Hz would occupy it for most of the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.subscription import Subscription


class Polled(ReentrantCallbackGroup):
    """Callback group whose subscriptions do not wake the executor; their events do."""

    def can_execute(self, entity: Any) -> bool:
        """Return whether the executor waits for an entity."""
        return not isinstance(entity, Subscription)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message, and the time since the middleware received it, nanoseconds."""

    message: Any
    waited_ns: int


def take_all(subscription: Subscription) -> list[Taken]:
    """Return the messages that have arrived since the last call, in order; never waits."""
    taken: list[Taken] = []
    now_ns = time.time_ns()
    with subscription.handle:
        for _ in range(subscription.qos_profile.depth):
            found = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if found is None:
                break
            received_ns = int(found[1].get('received_timestamp', 0))  # 0 of some middlewares
            waited_ns = max(0, now_ns - received_ns) if received_ns else 0
            taken.append(Taken(found[0], waited_ns))
    return taken
