"""The examples run, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f'examples/{name}', *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


def test_a_sentence_is_asked_of_an_array() -> None:
    done = run('embed_arrays.py')
    assert done.returncode == 0, done.stderr
    assert re.match(r'the drawer is open: [01]\.\d\d', done.stdout)


def test_a_sentence_follows_a_bag() -> None:
    done = run('score_bag.py')
    assert done.returncode == 0, done.stderr
    values = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(values) > 20
    # In the bundled bag the stove is switched on after 8 s and hot from about 11 s on.
    assert max(values[:7]) < 0.5 < min(values[13:26])


@pytest.mark.slow  # it waits for half a minute
@pytest.mark.ros
def test_a_program_waits_for_a_running_robot(tiny_model_set: Path, ros_domain: int) -> None:
    pytest.importorskip('rclpy')
    command = [sys.executable, '-m', 'lb_ros.start', 'predicates', '--ros-args']
    nodes = subprocess.Popen([*command, '-p', f'model:={tiny_model_set}'], cwd=ROOT)
    try:
        end_s = time.monotonic() + LIMIT_S
        while (done := run('wait_for_predicate.py', 'the lid is on')).returncode == 2:
            assert time.monotonic() < end_s, done.stderr
    finally:
        nodes.terminate()
        nodes.wait(timeout=30)
    # Without a sensor nothing becomes true.
    assert (done.returncode, done.stdout) == (1, 'the lid is on: UNKNOWN\n'), done.stderr
