"""Executor for a process of many nodes: sensors and queries first, the rest soon after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.service import Service
from rclpy.waitable import Waitable

# Longest delay of a service or a middleware event while messages keep arriving.
PATIENCE_S = 0.05


class AtOnce(ReentrantCallbackGroup):
    """Callback group whose services and actions are included in every wait."""


class SensorsFirstExecutor(SingleThreadedExecutor):
    """Checks services, actions and events only every 50 ms while messages keep arriving.

    Before each wait, rclpy passes every entity to the middleware, one by one in Python. A robot's
    nodes have about 20 subscriptions and timers but 150 services and events, and sensors wake the
    executor 200 times per second. Without messages it waits for everything, so that a service
    wakes it immediately. Services and actions whose callers wait for the answer (`query`,
    `wait_for`) are in a group `AtOnce` and are never delayed.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._looks_at_all = True
        self._next_look_s = 0.0

    def can_execute(self, entity: Any) -> bool:
        """Return whether to wait for an entity, and whether its callback may run."""
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
        """Wait once and yield the ready callbacks until none is left."""
        self._looks_at_all = time.monotonic() >= self._next_look_s
        if not self._looks_at_all:
            try:
                yield from super()._wait_for_ready_callbacks(PATIENCE_S, *args, **kwargs)
                return
            except TimeoutException:
                self._looks_at_all = True
        yield from super()._wait_for_ready_callbacks(timeout_sec, *args, **kwargs)
        self._next_look_s = time.monotonic() + PATIENCE_S
