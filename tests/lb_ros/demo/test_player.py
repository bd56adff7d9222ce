"""The player moves stamps and nothing else."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.shipped import shipped
from lb_ros.demo.player import is_heard_in_another_form, message_class, restamp
from tests.waiting import wait_for_handler

BAG = str(shipped('lb_ros/data/demo_bag'))
PLAYER = (sys.executable, '-m', 'lb_ros.demo.bag_player', BAG)


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 10**9 - 1),
    st.integers(-(10**18), 10**18),
    st.binary(max_size=20),
    st.booleans(),
)
def test_restamping_changes_only_the_stamp(
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


def test_unknown_types_have_no_class() -> None:
    pytest.importorskip('rclpy')
    assert message_class('no_such_package/msg/Thing') is None
    assert message_class('sensor_msgs/msg/NoSuchMessage') is None
    assert message_class('sensor_msgs/msg/Image').__name__ == 'Image'


@pytest.mark.ros
def test_a_bag_plays_after_its_wait_and_names_the_missing_node(ros_domain: int) -> None:
    pytest.importorskip('rclpy')
    command = [*PLAYER, '--rate', '100', '--wait', '0.5']
    done = subprocess.run(
        [*command, '--after', 'nobody'], capture_output=True, text=True, timeout=60, check=True
    )
    played = json.loads(done.stdout.splitlines()[-1])
    assert 'nobody is not active after 0.5 s' in played['problems']
    assert played['published']['camera/image/compressed'] > 0


def player(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A player that waits for a node that never comes."""
    return subprocess.Popen(
        [*PLAYER, '--wait', '600', '--after', 'nobody', *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.ros
@pytest.mark.parametrize(('words', 'status'), [((), 130), (('--loop',), 0)])
def test_a_hangup_ends_the_player_quietly(
    ros_domain: int, words: tuple[str, ...], status: int
) -> None:
    with player(*words) as process:
        wait_for_handler(process, signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output, errors) == (status, '', '')


@pytest.mark.ros
@pytest.mark.parametrize('kind', ['pipe', 'terminal'])
def test_the_player_ends_when_nobody_can_read_what_it_prints(ros_domain: int, kind: str) -> None:
    reader, writer = os.pipe() if kind == 'pipe' else pty.openpty()
    with player(stdout=writer) as process:
        os.close(writer)
        os.close(reader)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, '')


@pytest.mark.parametrize(
    ('words', 'status', 'says'),
    [
        (['--help'], 0, 'example: ros2 run lb_ros bag_player'),
        (['bag', '--ros-args', '--params_file', 'x'], 2, 'is --params-file meant?'),
        (['bag', '--lop'], 2, 'unrecognized arguments: --lop'),
        (['/nowhere/bag'], 2, 'no such bag'),
    ],
)
def test_wrong_arguments_of_the_player_are_named(words: list[str], status: int, says: str) -> None:
    done = subprocess.run([*PLAYER[:3], *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert says in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr


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
