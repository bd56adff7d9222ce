"""The examples run, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.conftest import DrawnBag, random_moments
from tests.waiting import wait_until

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
    assert sum(values[:7]) / 7 < 0.5 < min(values[13:26])


def test_fine_tuning_on_bags_helps(tmp_path: Path) -> None:
    bags = tmp_path / 'bags'
    for index in range(3):
        DrawnBag().write(bags / f'bag{index}', random_moments(16, seed=index), seed=index)
    done = run('fine_tune.py', str(bags), str(tmp_path / 'out'))
    assert done.returncode == 0, done.stderr
    found = re.findall(r'^(.*): AUROC (\S+), fine-tuned (\S+)$', done.stdout, re.M)
    auroc = {name: (float(before), float(after)) for name, before, after in found}
    assert set(auroc) == {'open(top drawer)', 'hot(stove)', 'dropped(something)'}
    before, after = auroc['open(top drawer)']  # the one that depth can see
    assert after > before + 0.3


@pytest.fixture
def predicates(tiny_model_set: Path, ros_domain: int) -> Iterator[None]:
    """A `predicates` node without sensors: nothing ever becomes true."""
    command = [sys.executable, '-m', 'lb_ros.start', 'predicates', '--ros-args']
    nodes = subprocess.Popen([*command, '-p', f'model:={tiny_model_set}'], cwd=ROOT)
    yield
    nodes.terminate()
    nodes.wait(timeout=30)


def run_when_ready(name: str, sentence: str) -> subprocess.CompletedProcess[str]:
    """What a program prints once the node answers."""
    done = [run(name, sentence)]
    wait_until(
        lambda: done[-1].returncode != 2,
        limit_s=LIMIT_S,
        meanwhile=lambda: done.append(run(name, sentence)),
        shows=lambda: done[-1].stderr,
    )
    return done[-1]


@pytest.mark.ros
def test_a_tree_waits_while_no_sensor_has_evidence(predicates: None) -> None:
    pytest.importorskip('rclpy')
    pytest.importorskip('py_trees')
    done = run_when_ready('behaviour_tree.py', 'the door is open')
    assert (done.returncode, done.stdout) == (0, 'waiting\n' * 5), done.stderr


@pytest.mark.slow  # it waits for half a minute
@pytest.mark.ros
def test_a_program_waits_for_a_running_robot(predicates: None) -> None:
    pytest.importorskip('rclpy')
    done = run_when_ready('wait_for_predicate.py', 'the lid is on')
    assert (done.returncode, done.stdout) == (1, 'the lid is on: UNKNOWN\n'), done.stderr
