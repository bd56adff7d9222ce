"""The player moves stamps and nothing else."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.shipped import shipped
from lb_ros.demo.player import is_heard_in_another_form, message_class, restamp


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 10**9 - 1),
    st.integers(-(10**18), 10**18),
    st.binary(max_size=20),
    st.booleans(),
)
def test_only_the_stamp_moves(
    seconds: int, nanoseconds: int, offset_ns: int, rest: bytes, little: bool
) -> None:
    order = '<' if little else '>'
    total_ns = seconds * 10**9 + nanoseconds + offset_ns
    if not 0 <= total_ns < 2**31 * 10**9:
        return
    head = bytes([0, int(little), 0, 0])
    raw = head + struct.pack(f'{order}iI', seconds, nanoseconds) + rest
    moved = restamp(raw, offset_ns)
    assert (moved[:4], moved[12:]) == (head, rest)
    assert struct.unpack_from(f'{order}iI', moved, 4) == divmod(total_ns, 10**9)


def test_unknown_types_are_none() -> None:
    pytest.importorskip('rclpy')
    assert message_class('no_such_package/msg/Thing') is None
    assert message_class('sensor_msgs/msg/NoSuchMessage') is None
    assert message_class('sensor_msgs/msg/Image').__name__ == 'Image'


@pytest.mark.ros
def test_a_bag_that_waited_in_vain_plays_and_says_for_whom(ros_domain: int) -> None:
    pytest.importorskip('rclpy')
    bag = str(shipped('lb_ros/data/demo_bag'))
    command = [sys.executable, '-m', 'lb_ros.demo.player', bag, '--rate', '100', '--wait', '0.5']
    done = subprocess.run(
        [*command, '--after', 'nobody'], capture_output=True, text=True, timeout=60, check=True
    )
    played = json.loads(done.stdout.splitlines()[-1])
    assert 'nobody is not active' in played['problems']
    assert played['published']['camera/image/compressed'] > 0


class Heard:
    def __init__(self, subscribers: int) -> None:
        self.subscribers = subscribers

    def get_subscription_count(self) -> int:
        return self.subscribers


def test_one_form_of_the_pictures_is_enough_to_begin() -> None:
    raw, compressed, depth = Heard(1), Heard(0), Heard(0)
    publishers = {
        'camera/image': (raw, True),
        'camera/image/compressed': (compressed, True),
        'depth/image/compressedDepth': (depth, True),
    }
    assert is_heard_in_another_form('camera/image/compressed', publishers)
    assert not is_heard_in_another_form('camera/image', publishers)
    assert not is_heard_in_another_form('depth/image/compressedDepth', publishers)
    raw.subscribers, compressed.subscribers = 0, 1
    assert is_heard_in_another_form('camera/image', publishers)
