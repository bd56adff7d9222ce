"""`make setup`, `make demo` and `lb-ros` on a machine where ROS from apt is sourced."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apt_ros.conftest import INSTALL_S
from tests.apt_ros.stand_in import StandIn
from tests.apt_ros.terminal import Done, Terminal, quoted

pytestmark = [pytest.mark.ros, pytest.mark.slow]

DEMO_S, TESTS_S, REFUSE_S = 900.0, 900.0, 60.0
# Large, and neither the nodes nor the demonstration import them.
LEFT_OUT = (
    'lance', 'lance-namespace', 'lance-namespace-urllib3-client', 'lancedb', 'onnx', 'onnx-ir',
    'onnxruntime', 'onnxscript', 'playwright', 'rerun-sdk',
)  # fmt: skip


def project(checkout: Path, folder: Path) -> Path:
    """A checkout whose locked requirements lack what is large and not needed here."""
    shutil.copytree(checkout, folder)
    locked = folder / 'requirements' / 'base.txt'
    unneeded = '|'.join(map(re.escape, LEFT_OUT))
    locked.write_text(re.sub(rf'^({unneeded})==.*\n', '', locked.read_text(), flags=re.M))
    return folder


@dataclass(frozen=True, slots=True)
class Project:
    """A checkout in which `make setup` was run.

    Attributes:
        folder: The checkout.
        setup: The command.
    """

    folder: Path
    setup: Done


@pytest.fixture(scope='session')
def attempt_at_setup(checkout: Path, sourced: Terminal, home: Path) -> Project:
    """A checkout after `make setup`, which may have failed."""
    folder = project(checkout, home / 'project')
    return Project(folder, sourced.another(folder).run('make setup', INSTALL_S))


@pytest.fixture
def ready(attempt_at_setup: Project) -> Project:
    """A checkout after `make setup`; else the test is skipped, and another one fails."""
    if attempt_at_setup.setup.status != 0:
        pytest.skip('make setup failed')
    return attempt_at_setup


def test_setup_uses_the_sourced_ros_alone(
    machine: StandIn, attempt_at_setup: Project, sourced: Terminal
) -> None:
    setup = attempt_at_setup.setup
    assert setup.status == 0, setup.report
    probe = 'import lb_ros.msg, rclpy; print(rclpy.__file__)'
    done = sourced.another(attempt_at_setup.folder).run(f'.venv/bin/python -c "{probe}"')
    assert done.status == 0, done.report
    assert done.output.startswith(str(machine.ros)), done.report
    wheels = attempt_at_setup.folder.glob('.venv/lib/python*/site-packages/ros_*')
    assert not list(wheels)


def test_make_demo_runs(ready: Project, sourced: Terminal, ros_domain: int) -> None:
    terminal = sourced.another(ready.folder, ROS_DOMAIN_ID=str(ros_domain))
    done = terminal.run('make demo', DEMO_S)
    assert done.status == 0, done.report
    assert 'invalid allocator' not in done.output, done.report
    assert 'Traceback' not in done.output, done.report


def test_a_shell_with_ros_sourced_can_ask(
    ready: Project, sourced: Terminal, ros_domain: int
) -> None:
    terminal = sourced.another(ready.folder, ROS_DOMAIN_ID=str(ros_domain))
    done = terminal.run('.venv/bin/lb-ros query "the stove is hot" --timeout 1')
    # No nodes answer, which is found out only after the messages were loaded.
    assert done.status == 1, done.report
    assert 'Traceback' not in done.output and 'allocator' not in done.output, done.report


def test_a_shell_without_ros_gets_an_answer_or_one_line(
    ready: Project, unsourced: Terminal, ros_domain: int
) -> None:
    terminal = unsourced.another(ready.folder, ROS_DOMAIN_ID=str(ros_domain))
    helped = terminal.run('.venv/bin/lb-ros query --help')
    assert helped.status == 0, helped.report
    done = terminal.run('.venv/bin/lb-ros query "the stove is hot" --timeout 1')
    assert done.status in (1, 2), done.report
    assert 'Traceback' not in done.output, done.report
    assert len(done.output.splitlines()) == 1, done.report


def test_the_system_keeps_its_numpy(ready: Project, sourced: Terminal) -> None:
    probe = 'python3 -c "import cv_bridge_stand_in, numpy; print(numpy.__version__)"'
    for script in ('true', *map(str, sorted(ready.folder.glob('.venv/*setup.bash')))):
        done = sourced.another(ready.folder).run(
            f'. {script} && {probe}' if script != 'true' else probe
        )
        assert (done.status, done.output) == (0, '1.26.4\n'), done.report


def test_tests_with_nodes_pass(ready: Project, sourced: Terminal) -> None:
    done = sourced.another(ready.folder).run(
        '.venv/bin/python -m pytest tests/lb_ros/nodes/test_nodes.py -k "images or apart"', TESTS_S
    )
    assert done.status == 0, done.report
    assert ' passed' in done.output, done.report


def test_another_distribution_is_refused_or_not_mixed(
    checkout: Path, sourced: Terminal, home: Path
) -> None:
    folder = project(checkout, home / 'humble')
    terminal = sourced.another(folder, ROS_DISTRO='humble')
    done = terminal.run('make setup', INSTALL_S)
    if done.status != 0:
        lines = [line for line in done.output.splitlines() if not line.startswith('make')]
        assert len(lines) == 1 and 'humble' in lines[0].lower(), done.report
        assert not (folder / '.venv').exists()
        return
    found = terminal.run(f'{quoted(folder)}/.venv/bin/lb-ros query "it is hot" --timeout 1')
    assert found.status == 1 and 'Traceback' not in found.output, found.report
