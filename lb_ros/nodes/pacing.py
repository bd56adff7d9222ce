"""When to work: soon after something has come, and otherwise only when a deadline has."""

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
    """When there will be work although nothing comes.

    Attributes:
        clock_ns: Of the node's clock, which may be simulated; None for never.
        steady_s: Of `time.monotonic`.
    """

    clock_ns: int | None = None
    steady_s: float = math.inf


class Pacing:
    """Runs work when it was asked for or a deadline has come, with pauses in between.

    Args:
        node: On whose executor it runs; asking has no effect before it has one.
        work: Called with the node's time in nanoseconds; returns when it must run again at the
            latest.
        period_s: See below.
        busy_share: Share of the time that work may take; pauses become longer where it takes long.

    Attributes:
        period_s: Shortest time from the beginning of one run to that of the next.
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
        # Of steady time: simulated time may stand still, and waiting has an end all the same.
        self._steady = Alarm(node, Clock(clock_type=ClockType.STEADY_TIME), self._run)
        self._clock = Alarm(node, node.get_clock(), self._run)

    def ask(self) -> None:
        """Have the work run soon; from any thread."""
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
        self._asked = False  # first: what comes during the work asks anew
        now_ns = self._node.get_clock().now().nanoseconds
        deadlines = self._work(now_ns)
        took_s = time.monotonic() - now_s
        self._next_s = now_s + max(self.period_s, took_s / self._busy_share)
        self._steady.set((max(deadlines.steady_s, self._next_s) - now_s - took_s) * 1e9)
        due_ns = deadlines.clock_ns
        self._clock.set(math.inf if due_ns is None else due_ns - now_ns - took_s * 1e9)
