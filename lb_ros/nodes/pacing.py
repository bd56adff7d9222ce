"""Scheduling of work: soon after a request, otherwise only at a deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from lb_ros.ros.timers import Alarm


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Times at which work is due even without a request.

    Attributes:
        clock_ns: Time of the node's clock, which may be simulated; None for never.
        steady_s: Time of `time.monotonic`.
    """

    clock_ns: int | None = None
    steady_s: float = math.inf


class Pacing:
    """Runs work after a request or at a deadline, with pauses in between.

    Args:
        node: Node whose executor runs the work; requests before it has one are ignored.
        work: Called with the node's time in nanoseconds; returns the deadlines of the next run.
        period_s: See below.
        busy_share: Largest share of the time that work may take; long work lengthens the pauses.

    Attributes:
        period_s: Shortest time from the start of one run to the start of the next.
    """

    def __init__(
        self,
        node: Node,
        work: Callable[[int], Deadlines],
        *,
        period_s: float,
        busy_share: float,
    ) -> None:
        self._node, self._work = node, work
        self.period_s, self._busy_share = period_s, busy_share
        self._asked = False
        self._next_s = 0.0
        # Steady time, since simulated time may stand still while pauses must end.
        self._steady = Alarm(node, Clock(clock_type=ClockType.STEADY_TIME), self._run)
        self._clock = Alarm(node, node.get_clock(), self._run)

    def ask(self) -> None:
        """Request a run soon; callable from any thread."""
        executor = self._node.executor
        if self._asked or executor is None:
            return
        self._asked = True
        executor.create_task(self._run)

    def _run(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._steady.set((self._next_s - now_s) * 1e9)
            return
        self._asked = False  # before the work, so that a request during it causes another run
        now_ns = self._node.get_clock().now().nanoseconds
        deadlines = self._work(now_ns)
        took_s = time.monotonic() - now_s
        self._next_s = now_s + max(self.period_s, took_s / self._busy_share)
        self._steady.set((max(deadlines.steady_s, self._next_s) - now_s - took_s) * 1e9)
        due_ns = deadlines.clock_ns
        self._clock.set(math.inf if due_ns is None else due_ns - now_ns - took_s * 1e9)
