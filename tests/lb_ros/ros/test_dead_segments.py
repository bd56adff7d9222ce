"""What killed processes leave in shared memory is freed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from encoders.shipped import shipped
from lb_ros.dds_profile import (
    FOR_IMAGES,
    FOR_THE_REST,
    TRANSPORTS,
    VARIABLES,
    has_own_transports,
    is_fast_dds,
    use_dds_profile,
)
from lb_ros.ros.dead_segments import FOLDER, LOCK, remove_dead_segments

LIMIT_S = 60.0
PARTICIPANT = """
import sys, rclpy
from lb_ros.dds_profile import use_dds_profile
use_dds_profile(sends_images=True)
rclpy.init()
node = rclpy.create_node('participant')
print('ready', flush=True)
sys.stdin.read()
"""


def segment(folder: Path, name: str, *, size: int = 1000, age_s: float = 60.0) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    lock = folder / f'{name}_el'
    lock.touch()
    past_s = lock.stat().st_mtime - age_s
    os.utime(lock, (past_s, past_s))
    return path


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of Python that has said it is ready; one that never does is killed."""
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    limit = threading.Timer(LIMIT_S, process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        assert any('ready' in line for line in process.stdout)
        yield process
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def held_by(process: subprocess.Popen[str]) -> set[Path]:
    """Segments whose locks a process has open."""
    opened = [link.readlink() for link in Path(f'/proc/{process.pid}/fd').iterdir()]
    locks = [path.name for path in opened if path.parent == FOLDER and LOCK.fullmatch(path.name)]
    return {FOLDER / name.removesuffix('_el') for name in locks}


def test_only_segments_without_an_owner_are_freed(tmp_path: Path) -> None:
    dead = segment(tmp_path, 'fastrtps_0123456789abcdef')
    held = segment(tmp_path, 'fastrtps_1123456789abcdef')
    new = segment(tmp_path, 'fastrtps_2123456789abcdef', age_s=0.0)
    other = segment(tmp_path, 'something_of_others')
    (tmp_path / 'fastrtps_3123456789abcdef_el').mkdir()
    with (tmp_path / f'{held.name}_el').open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_dead_segments(tmp_path) == 1000
    assert [p.exists() for p in (dead, held, new, other)] == [False, True, True, True]
    assert not (tmp_path / f'{dead.name}_el').exists()
    assert remove_dead_segments(tmp_path / 'none') == 0


@pytest.mark.ros
@pytest.mark.skipif(not FOLDER.is_dir(), reason='no shared memory of Linux')
def test_the_segment_of_a_killed_node_is_freed_and_that_of_a_living_one_kept() -> None:
    with running('-c', PARTICIPANT) as killed, running('-c', PARTICIPANT) as living:
        own, others = held_by(killed), held_by(living)
        assert own and others
        killed.kill()
        killed.wait()
        assert remove_dead_segments(min_age_s=0.0) > 60_000_000
        assert not any(path.exists() for path in own)
        assert all(path.exists() for path in others)


@pytest.mark.ros
@pytest.mark.skipif(not FOLDER.is_dir(), reason='no shared memory of Linux')
@pytest.mark.parametrize(
    'words', [('-c', PARTICIPANT), ('-m', 'lb_ros.start', 'predicates')], ids=['client', 'node']
)
def test_a_choice_of_udp_alone_is_respected(
    ros_domain: int, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for name in VARIABLES:  # which a test before may have set in this process
        monkeypatch.delenv(name, raising=False)
    # The range LOCALHOST has transports of its own, whatever is chosen.
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    with running(*words) as process:
        assert held_by(process)
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    with running(*words) as process:
        assert not held_by(process)


def test_the_profile_is_given_to_fast_dds_alone_and_replaces_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, TRANSPORTS, 'RMW_IMPLEMENTATION'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp')
    use_dds_profile()
    assert not is_fast_dds(os.environ) and not has_own_transports(os.environ)
    monkeypatch.setenv('RMW_IMPLEMENTATION', '')
    (tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml').touch()
    use_dds_profile()
    assert VARIABLES[0] not in os.environ
    (tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml').unlink()
    for name in VARIABLES:
        monkeypatch.setenv(name, '')  # so that what is set now is undone
    # A process that is started by another one of ours chooses by itself, and so does one whose
    # launch file found the profile in another folder.
    copied = tmp_path / 'copied.xml'
    copied.write_bytes(shipped(FOR_IMAGES).read_bytes())
    monkeypatch.setenv(VARIABLES[0], str(copied))
    for sends_images, profile in (
        (False, FOR_THE_REST),
        (True, FOR_IMAGES),
        (False, FOR_THE_REST),
    ):
        use_dds_profile(sends_images=sends_images)
        assert all(os.environ[name].endswith(profile) for name in VARIABLES)


@pytest.mark.ros
@pytest.mark.skipif(not FOLDER.is_dir(), reason='no shared memory of Linux')
def test_a_node_that_is_stopped_leaves_nothing() -> None:
    with running('-m', 'lb_ros.start', 'depth_encoder') as node:
        own = held_by(node)
        node.send_signal(signal.SIGINT)
        node.communicate(timeout=LIMIT_S)
        assert own and not any(path.exists() for path in own)
