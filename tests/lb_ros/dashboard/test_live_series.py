"""The page of a robot shows what its series measure."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node

from encoders.decode.series import Series
from lb_ros.ros.qos import SERIES
from lb_ros.ros.stamps import to_stamp
from tests.domains import own_domain
from tests.waiting import wait_until
from train.score.series_picture import draw_series

TOPIC = 'wrist/wrench'
LIMIT_S = 60.0


@contextmanager
def dashboard() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, '-m', 'lb_ros.cli', 'dashboard', '--port', '0']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()


def get(url: str) -> bytes:
    """The answer; empty while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return b''


@pytest.mark.ros
def test_the_page_of_a_robot_plots_forces_while_it_is_open() -> None:
    with own_domain():
        rclpy.init()
        arm = Node('arm')
        sender = arm.create_publisher(WrenchStamped, TOPIC, SERIES)
        pushes = False

        def measure() -> None:
            message = WrenchStamped()
            message.header.stamp = to_stamp(arm.get_clock().now().nanoseconds)
            message.wrench.force.z = -20.0 if pushes else 0.0
            for _ in range(5):
                sender.publish(message)

        try:
            with dashboard() as (process, url):

                def shown() -> bool:
                    """Whether the page shows a wrench; asking for news keeps it open."""
                    told = get(f'{url}api/updates?since=0')
                    return bool(told) and json.loads(told)['modalities'] == ['wrench']

                def picture() -> np.ndarray:
                    shown()
                    coded = np.frombuffer(get(f'{url}api/picture/wrench'), np.uint8)
                    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(int)

                wait_until(shown, limit_s=LIMIT_S, meanwhile=measure)
                still = picture()
                assert np.ptp(still) > 100  # lines and letters on a dark ground
                pushes = True
                wait_until(
                    lambda: np.abs(picture() - still).max() > 100,
                    limit_s=LIMIT_S,
                    meanwhile=measure,
                )
                # Nobody looks at it any more.
                wait_until(
                    lambda: arm.count_subscribers(TOPIC) == 0, limit_s=LIMIT_S, meanwhile=measure
                )
                process.send_signal(signal.SIGINT)
                assert process.wait(LIMIT_S) == 130
        finally:
            arm.destroy_node()
            rclpy.shutdown()


def test_the_window_of_the_encoder_is_marked() -> None:
    times = np.linspace(0.0, 6.0, 300)
    values = np.zeros((300, 6))
    names = tuple(f'{part}.{axis}' for part in ('force', 'torque') for axis in 'xyz')
    series = Series(values, times - 6.0, names)
    plain, marked = (draw_series(series, window_s=s).astype(int) for s in (0.0, 2.0))
    columns = np.flatnonzero((plain != marked).any(axis=(0, 2)))
    # A third of the plot, at its right end.
    width = plain.shape[1]
    assert columns[-1] > 0.9 * width
    assert len(columns) == pytest.approx(width / 3, rel=0.15)
    np.testing.assert_array_equal(draw_series(series, window_s=60.0)[0, 5], marked[0, -20])
