"""Timers that rarely wake an executor: at every wake it checks all entities of its nodes."""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

NEVER_S = 3600.0  # a timer needs a period even while it is off
MIN_DELAY_NS = 1000


def every(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Create a timer of steady time that fires at whole multiples of its period.

    The timers of all nodes of a process thus fire together, in one wake of the executor.
    """
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    timer = node.create_timer(period_s, callback, clock=clock, autostart=False)
    period_ns = timer.timer_period_ns
    timer.timer_period_ns = period_ns - clock.now().nanoseconds % period_ns
    timer.reset()  # starts the first period; the period set below applies afterwards
    timer.timer_period_ns = period_ns
    return timer


class Alarm:
    """A one-shot timer, off until it is set; used only from the executor's thread.

    Args:
        node: Owner of the timer.
        clock: Clock of the timer; simulated time may stand still.
        callback: Called when the timer fires.
    """

    def __init__(self, node: Node, clock: Clock, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = node.create_timer(NEVER_S, self._ring, clock=clock, autostart=False)

    def set(self, delay_ns: float) -> None:
        """Fire after this time instead of any earlier setting; never if it is infinite."""
        self._timer.cancel()
        if delay_ns < math.inf:
            self._timer.timer_period_ns = max(round(delay_ns), MIN_DELAY_NS)
            self._timer.reset()

    def _ring(self) -> None:
        self._timer.cancel()
        self._callback()
