"""Timers that wake an executor seldom: every wake costs it a look at all entities of its nodes."""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

NEVER_S = 3600.0  # a timer needs a period, also while it is off
MIN_DELAY_NS = 1000


def every(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """A timer of steady time that goes off at whole multiples of its period.

    So those of all nodes of a process go off together, in one wake of the executor.
    """
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    timer = node.create_timer(period_s, callback, clock=clock, autostart=False)
    period_ns = timer.timer_period_ns
    timer.timer_period_ns = period_ns - clock.now().nanoseconds % period_ns
    timer.reset()  # the first time; a period that is changed afterwards counts from then on
    timer.timer_period_ns = period_ns
    return timer


class Alarm:
    """A timer that goes off once, and is off until it is set. Of the executor's thread.

    Args:
        node: Whose timer it is.
        clock: Which time it goes by; simulated time may stand still.
        callback: Called when it goes off.
    """

    def __init__(self, node: Node, clock: Clock, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = node.create_timer(NEVER_S, self._ring, clock=clock, autostart=False)

    def set(self, delay_ns: float) -> None:
        """Go off after this time, whatever was set before; never where it is infinite."""
        self._timer.cancel()
        if delay_ns < math.inf:
            self._timer.timer_period_ns = max(round(delay_ns), MIN_DELAY_NS)
            self._timer.reset()

    def _ring(self) -> None:
        self._timer.cancel()
        self._callback()
