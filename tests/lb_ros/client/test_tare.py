"""`lb-ros tare` and `LanguageClient.tare` in processes of their own, against a running bringup."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy')

from lb_ros.cli import main
from lb_ros.ros.stamps import to_ns
from tests.domains import own_domain
from tests.lb_ros.limbs import TOPICS, Change, Limb
from tests.lb_ros.robot import LIMIT_S, START_S, Robot, bringup, listening
from tests.series_sets import write_series_set

pytestmark = pytest.mark.ros
PROGRAM = """
import sys
from lb_ros.client import LanguageClient, NotAnsweredError
with LanguageClient(timeout_s=60) as client:
    try:
        print('tared', client.tare(sys.argv[1]))
    except NotAnsweredError as error:
        print('refused', error)
"""
SILENT = 'imu'


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A robot whose inertial unit sends nothing."""
    model = write_series_set(tmp_path_factory.mktemp('models') / 'felt')
    folder = tmp_path_factory.mktemp('predicates')
    parameters = ('modalities:=[wrench, joints, imu]',)
    with own_domain(), listening(TOPICS) as node, bringup(node, model, folder, *parameters):
        yield node


@pytest.fixture(scope='module')
def limbs(robot: Robot) -> list[Limb]:
    found = [Limb(robot, name) for name in TOPICS if name != SILENT]

    def send() -> None:
        for limb in found:
            limb.send()

    robot.until(lambda: all(robot.knows(limb.modality) for limb in found), send, limit_s=START_S)
    return found


def at_rest(message: Any) -> Any:
    return message


def pushed(message: Any) -> Any:
    """A steady load, in newtons."""
    message.wrench.force.x += 5.0
    return message


def shaken(message: Any) -> Any:
    message.wrench.force.x += 40.0 * (to_ns(message.header.stamp) % 1_000_000_000) * 1e-9
    return message


def ran(limbs: list[Limb], *command: str, change: Change = at_rest) -> tuple[int, str, str]:
    """Status, output and errors of a Python process, while the sensors send."""
    robot = limbs[0].robot

    def send() -> None:
        for limb in limbs:
            limb.send(change if limb.modality == 'wrench' else at_rest)

    with subprocess.Popen(
        [sys.executable, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            robot.until(lambda: process.poll() is not None, send, limit_s=START_S)
        finally:
            process.kill()
        out, err = process.communicate()
    return process.returncode, out, err


def force_x(line: str) -> float:
    """What a line of a tared wrench says of the force."""
    return float(line.partition('force.x ')[2].partition(',')[0])


def test_sensors_are_tared_by_the_command(robot: Robot, limbs: list[Limb]) -> None:
    words = ('-m', 'lb_ros.cli', 'tare', 'wrench', 'joints')
    status, out, err = ran(limbs, *words, change=pushed)
    assert (status, err) == (0, '')
    wrench, joints = out.splitlines()
    assert wrench.startswith('wrench tared: /wrist/wrench: force.x ')
    assert force_x(wrench) == pytest.approx(5.0, abs=0.2)
    assert joints.startswith('joints tared: /joint_states: ')
    robot.until(
        lambda: float(robot.told('/wrist/wrench', 'tare_age_s')) < 60,
        limbs[0].send,
        limit_s=LIMIT_S,
    )
    status, out, _ = ran(limbs, '-m', 'lb_ros.cli', 'tare', 'wrench', '--json')
    tared = json.loads(out)
    assert status == 0 and list(tared) == ['wrench']
    assert force_x(tared['wrench']) == pytest.approx(0.0, abs=0.2)


def test_a_program_tares_a_sensor_and_learns_what_was_measured(limbs: list[Limb]) -> None:
    status, out, err = ran(limbs, '-c', PROGRAM, 'wrench', change=pushed)
    assert (status, err) == (0, '') and out.startswith('tared /wrist/wrench: force.x ')
    assert force_x(out) == pytest.approx(5.0, abs=0.2)


def test_a_sensor_that_moves_is_refused_with_its_channel(limbs: list[Limb]) -> None:
    status, out, err = ran(limbs, '-m', 'lb_ros.cli', 'tare', 'wrench', change=shaken)
    assert (status, out) == (1, '')
    assert err.startswith('lb-ros tare: ') and err.count('\n') == 1
    assert '/wrist/wrench: the sensor moves: force.x changed by' in err and 'at rest' in err
    _, out, _ = ran(limbs, '-c', PROGRAM, 'wrench', change=shaken)
    assert out.startswith('refused ') and 'the sensor moves: force.x' in out


def test_a_silent_sensor_is_refused_with_its_topic(limbs: list[Limb]) -> None:
    status, _, err = ran(limbs, '-m', 'lb_ros.cli', 'tare', SILENT)
    assert status == 1
    assert '/imu/data: 0 messages of the last' in err and 'are needed' in err


def test_without_nodes_the_service_is_named() -> None:
    with own_domain():
        command = [sys.executable, '-m', 'lb_ros.cli', 'tare', 'wrench']
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert 'wrench_encoder/tare' in done.stderr


def test_only_series_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['tare', 'depth']) == 2
    assert "invalid choice: 'depth'" in capsys.readouterr().err
