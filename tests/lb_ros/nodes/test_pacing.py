"""Work is done when it was asked for or is due, and the executor sleeps otherwise."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from lb_ros.client import LanguageClient
from lb_ros.nodes.pacing import Deadlines, Pacing
from lb_ros.ros.timers import every
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

LIMIT_S = 30.0
START_S = 120.0
IDLE_S = 2.0
# Those of two beats a second, and as many again for what a middleware has to say.
WAKES_PER_S = 10.0


class Bench:
    """A node that is spun by hand, and what its work was told."""

    def __init__(self) -> None:
        self.node = Node('paced')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.began_s: list[float] = []
        self.deadlines = Deadlines()
        self.pacing = Pacing(self.node, self.work, period_s=0.05, busy_share=0.5)

    def work(self, now_ns: int) -> Deadlines:
        self.began_s.append(time.monotonic())
        deadlines, self.deadlines = self.deadlines, Deadlines()
        return deadlines

    def spin_until(self, found: Callable[[], bool]) -> None:
        spin = partial(self.executor.spin_once, timeout_sec=0.02)
        wait_until(found, limit_s=LIMIT_S, meanwhile=spin)

    def spin_for(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        self.spin_until(lambda: time.monotonic() > until_s)


@pytest.fixture
def bench(ros_domain: int) -> Iterator[Bench]:
    rclpy.init()
    made = Bench()
    yield made
    made.executor.shutdown()
    made.node.destroy_node()
    rclpy.try_shutdown()


def test_what_is_asked_often_is_done_at_its_pace_and_once_after_the_last_time(
    bench: Bench,
) -> None:
    first_s = time.monotonic()
    while len(bench.began_s) < 8:
        bench.pacing.ask()
        asked_s = time.monotonic()
        bench.executor.spin_once(timeout_sec=0.001)
    bench.spin_until(lambda: bench.began_s[-1] >= asked_s)
    assert len(bench.began_s) <= 1 + (bench.began_s[-1] - first_s) / bench.pacing.period_s
    count = len(bench.began_s)
    bench.spin_for(0.2)
    assert len(bench.began_s) == count, 'nothing was asked for and nothing was due'


def test_work_that_takes_long_leaves_time_for_the_rest(bench: Bench) -> None:
    bench.pacing.ask()
    bench.spin_until(lambda: len(bench.began_s) == 1)
    work = bench.pacing._work

    def long_work(now_ns: int) -> Deadlines:
        found = work(now_ns)
        until_s = time.monotonic() + 0.2
        while time.monotonic() < until_s:
            pass
        return found

    bench.pacing._work = long_work
    for count in (2, 3):
        bench.pacing.ask()
        bench.spin_until(lambda count=count: len(bench.began_s) == count)
    assert bench.began_s[2] - bench.began_s[1] >= 0.4


def test_a_steady_deadline_comes_although_nothing_is_asked(bench: Bench) -> None:
    due_s = time.monotonic() + 0.3
    bench.deadlines = Deadlines(steady_s=due_s)
    bench.pacing.ask()
    bench.spin_until(lambda: len(bench.began_s) == 2)
    assert bench.began_s[1] >= due_s


def test_a_deadline_of_simulated_time_comes_when_that_time_has_come(bench: Bench) -> None:
    bench.node.set_parameters([Parameter('use_sim_time', value=True)])
    clock = bench.node.create_publisher(Clock, '/clock', 10)

    def turn(seconds: int) -> None:
        def arrived() -> bool:
            clock.publish(Clock(clock=Time(sec=seconds)))
            return bench.node.get_clock().now().nanoseconds == seconds * 10**9

        bench.spin_until(arrived)

    turn(100)
    bench.deadlines = Deadlines(clock_ns=200 * 10**9)
    bench.pacing.ask()
    bench.spin_until(lambda: len(bench.began_s) == 1)
    turn(199)
    bench.spin_for(0.3)
    assert len(bench.began_s) == 1
    turn(201)
    bench.spin_until(lambda: len(bench.began_s) == 2)


def test_timers_of_a_period_go_off_together(bench: Bench) -> None:
    period_s, beats = 2.0, [0, 0]

    def beat(index: int) -> None:
        beats[index] += 1

    first = every(bench.node, period_s, partial(beat, 0))
    bench.spin_for(0.3 * period_s)
    second = every(bench.node, period_s, partial(beat, 1))
    # What is left of a period, at three moments in a row. Else they would differ by 0.6 s.
    left_ns = [timer.time_until_next_call() for timer in (first, second, first)]
    slack_ns = 0.1e9
    assert left_ns[2] - slack_ns < left_ns[1] < left_ns[0] + slack_ns
    bench.spin_until(lambda: min(beats) > 0)


def test_a_bringup_without_sensors_sleeps(tiny_model_set: Path, ros_domain: int) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    process = subprocess.Popen([*command, '-p', f'model:={tiny_model_set}'])
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.states()  # latched: it is active
        before = _wakes(process.pid)
        began_s = time.monotonic()
        while time.monotonic() < began_s + IDLE_S:
            assert process.poll() is None
            time.sleep(0.1)
        per_s = (_wakes(process.pid) - before) / (time.monotonic() - began_s)
        assert per_s < WAKES_PER_S
    finally:
        process.kill()
        process.wait()


def _wakes(pid: int) -> int:
    """How often the thread of the executor has gone to sleep so far."""
    lines = Path(f'/proc/{pid}/task/{pid}/status').read_text().splitlines()
    return next(int(s.split()[1]) for s in lines if s.startswith('voluntary_ctxt_switches'))
