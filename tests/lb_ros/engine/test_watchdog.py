"""A stuck process ends with a status of its own, also when nothing in Python moves any more."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest

from lb_ros.engine.watchdog import EXIT_DEVICE, EXIT_STUCK, Watchdog
from tests.waiting import wait_until

LIMIT_S = 60.0


def test_what_is_busy_too_long_is_ended_and_what_is_not_is_not() -> None:
    ended: queue.Queue[tuple[int, str]] = queue.Queue()
    busy: list[tuple[str, float] | None] = [None]
    watchdog = Watchdog(
        lambda: busy[0], limit_s=0.2, ended=lambda status, line: ended.put((status, line))
    )
    for _ in range(20):  # busy again and again, but never for long
        busy[0] = ('encoding depth', time.monotonic())
        time.sleep(0.02)
    assert ended.empty()
    status, line = ended.get(timeout=LIMIT_S)
    assert status == EXIT_STUCK
    assert 'stuck: encoding depth' in line
    watchdog.close()


PYTHON_STUCK = """
import time
from lb_ros.engine.watchdog import Watchdog
since_s = time.monotonic()
Watchdog(lambda: ('encoding depth', since_s), limit_s=0.3)
time.sleep(60)
"""
LOCK_HELD = """
import ctypes, time
import lb_ros.engine.watchdog as watchdog
watchdog.GRACE_S = 1.0
since_s = time.monotonic()
watchdog.Watchdog(lambda: None, limit_s=1.0)
time.sleep(1.0)
ctypes.PyDLL(None).sleep(60)  # native code that keeps Python's lock
"""


@pytest.mark.parametrize(
    ('program', 'status', 'says'),
    [(PYTHON_STUCK, EXIT_STUCK, 'stuck: encoding depth'), (LOCK_HELD, 1, 'Timeout')],
)
def test_a_stuck_process_ends_by_itself_and_shows_where(
    program: str, status: int, says: str
) -> None:
    ended = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert says in ended.stderr
    assert 'line' in ended.stderr


FAILS_IN_BRINGUP = """
import sys, threading, time, torch
from encoders import Binder
real = Binder.encode_evidence
def encode(self, inputs, **options):
    if threading.current_thread().name == 'encoding':  # and not while it warms up
        {fault}
    return real(self, inputs, **options)
Binder.encode_evidence = encode
from lb_ros.start import start
start('bringup', sys.argv[1:])
"""
LOST = 'raise torch.AcceleratorError("CUDA error: unspecified launch failure")'


def told(states: list[Any]) -> bool:
    return any('failed for good' in one.reason for message in states for one in message.states)


@pytest.mark.ros
@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        pytest.param(LOST, EXIT_DEVICE, id='device-lost'),
        pytest.param('time.sleep(100)', EXIT_STUCK, id='stuck', marks=pytest.mark.slow),
    ],
)
def test_a_node_whose_encoder_fails_ends_so_that_it_is_started_again(
    tiny_model_set: object, ros_domain: int, fault: str, status: int
) -> None:
    rclpy = pytest.importorskip('rclpy')
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from lb_ros.msg import PredicateStates
    from lb_ros.ros.qos import LATCHED

    words = ['--ros-args', '-p', f'model:={tiny_model_set}', '-p', 'worker_timeout_s:=3.0']
    process = subprocess.Popen(
        [sys.executable, '-c', FAILS_IN_BRINGUP.format(fault=fault), *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    rclpy.init()
    node = rclpy.create_node('robot')
    camera = node.create_publisher(Image, 'camera/image', 1)
    states: list[PredicateStates] = []
    node.create_subscription(PredicateStates, 'predicates/state', states.append, LATCHED)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:

        def see() -> None:
            image = Image(encoding='rgb8', width=8, height=8, step=24, data=bytes(192))
            image.header.stamp = node.get_clock().now().to_msg()
            camera.publish(image)
            executor.spin_once(timeout_sec=0.05)

        # Only what is published to a known subscriber arrives after the publisher has ended.
        spin = partial(executor.spin_once, timeout_sec=0.1)
        wait_until(lambda: states, limit_s=2 * LIMIT_S, meanwhile=spin)
        wait_until(lambda: process.poll() is not None, limit_s=2 * LIMIT_S, meanwhile=see)
        assert process.returncode == status, process.communicate()[1]
        if status == EXIT_DEVICE:
            # Several states may be under way still.
            wait_until(lambda: told(states), limit_s=LIMIT_S, meanwhile=spin)
    finally:
        process.kill()
        process.communicate()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
