"""The executor of a process of many nodes: sensors and questions first, the rest soon after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.service import Service
from rclpy.waitable import Waitable

# How long, while messages flow, a service or an event of the middleware may have to wait.
PATIENCE_S = 0.05


class AtOnce(ReentrantCallbackGroup):
    """Services and actions of this group are looked at in every wait."""


class SensorsFirstExecutor(SingleThreadedExecutor):
    """Looks at services, actions and events only every 50 ms while messages keep coming.

    Before each wait rclpy hands all that it waits for to the middleware, one by one in Python. A
    robot's nodes have some twenty subscriptions and timers, but a hundred and fifty services and
    events, and sensors wake it two hundred times a second. Where nothing comes, it waits for
    everything, so that a service wakes it at once. The few that people and planners wait for
    (`query`, `wait_for`) are in a group `AtOnce`, and never wait.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._looks_at_all = True
        self._next_look_s = 0.0

    def can_execute(self, entity: Any) -> bool:
        """Whether to wait for it, and whether its callback may run."""
        if (
            not self._looks_at_all
            and isinstance(entity, (Service, Waitable))
            and not isinstance(entity.callback_group, AtOnce)
        ):
            return False
        return bool(super().can_execute(entity))

    def _wait_for_ready_callbacks(
        self, timeout_sec: float | None = None, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        """Once for every wait; what is ready is given out until nothing is left."""
        self._looks_at_all = time.monotonic() >= self._next_look_s
        if not self._looks_at_all:
            try:
                yield from super()._wait_for_ready_callbacks(PATIENCE_S, *args, **kwargs)
                return
            except TimeoutException:
                self._looks_at_all = True
        yield from super()._wait_for_ready_callbacks(timeout_sec, *args, **kwargs)
        self._next_look_s = time.monotonic() + PATIENCE_S
