"""Which interpreter the programs run in, and what they need to start in the system's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lb_ros import interpreter
from lb_ros.cli.commands import SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
# Subcommands that a robot has a use for; the others run in the environment of a workstation.
ON_A_ROBOT = ('', 'demo', 'up', 'query', 'watch', 'dashboard', 'models')
# Acts as an environment: shows how it was called.
PYTHON = '#!/bin/sh\necho "in the environment:" "$@"\n'


def run(program: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with `lb_ros` on its path."""
    return subprocess.run(
        [sys.executable, '-c', program, *words],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def make_environment(folder: Path) -> Path:
    (folder / 'bin').mkdir(parents=True)
    python = folder / 'bin' / 'python'
    python.write_text(PYTHON)
    python.chmod(0o755)
    return folder


ENTER = 'from lb_ros import interpreter; interpreter.enter("bringup"); print("stayed")'
BUILT = """
import sys, types
import lb_ros
built = types.ModuleType('lb_ros.built')
built.VENV, built.DISTRO = {venv!r}, {distro!r}
sys.modules['lb_ros.built'] = lb_ros.built = built
"""


def test_a_program_continues_in_the_recorded_environment(tmp_path: Path) -> None:
    folder = make_environment(tmp_path / 'env')
    done = run(BUILT.format(venv=str(folder), distro='') + ENTER, '--ros-args', '-r', 'a:=b c')
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'in the environment: -s -c --ros-args -r a:=b c\n'


def test_a_variable_comes_before_the_recorded_environment(tmp_path: Path) -> None:
    folder, other = make_environment(tmp_path / 'env'), tmp_path / 'recorded'
    program = BUILT.format(venv=str(other), distro='') + ENTER
    assert run(program, LB_ROS_VENV=str(folder)).stdout.startswith('in the environment')


def test_a_program_with_all_packages_does_not_change_its_interpreter(tmp_path: Path) -> None:
    for venv in (sys.prefix, str(tmp_path / 'nowhere')):
        done = run(BUILT.format(venv=venv, distro='') + ENTER)
        assert (done.returncode, done.stdout) == (0, 'stayed\n'), done.stderr


def test_a_missing_environment_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    done = run(ENTER, LB_ROS_VENV=str(tmp_path / 'nowhere'))
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'bringup: there is no environment {tmp_path}/nowhere')
    assert 'scripts/robot.sh cpu' in done.stderr


def test_missing_packages_are_one_line_with_a_remedy(tmp_path: Path) -> None:
    hide = (
        'import importlib.util as u; find = u.find_spec\n'
        'u.find_spec = lambda name: None if name in ("torch", "cv2") else find(name)\n'
    )
    done = run(hide + BUILT.format(venv=str(tmp_path / 'nowhere'), distro='') + ENTER)
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert f'the Python of {sys.prefix} lacks python3-opencv, PyTorch' in done.stderr
    assert f'{tmp_path}/nowhere with scripts/robot.sh cpu' in done.stderr


CHECK = 'from lb_ros import interpreter; interpreter.check_distribution("bringup"); print("fits")'


@pytest.mark.parametrize(
    ('built', 'sourced', 'says'),
    [
        ('jazzy', 'jazzy', ''),
        ('jazzy', '', ''),
        ('kilted', 'jazzy', 'lb_ros was built for ROS 2 kilted, but jazzy is sourced: build it'),
    ],
)
def test_another_distribution_than_it_was_built_for_is_refused(
    built: str, sourced: str, says: str
) -> None:
    done = run(BUILT.format(venv='', distro=built) + CHECK, ROS_DISTRO=sourced)
    assert (done.returncode, says in done.stderr) == (1 if says else 0, True), done.stderr


def test_wheels_do_not_run_with_the_client_library_of_another_ros(tmp_path: Path) -> None:
    (tmp_path / 'rclpy').mkdir()
    (tmp_path / 'rclpy' / '__init__.py').touch()
    program = BUILT.format(venv='', distro='') + CHECK
    done = run(program, PYTHONPATH=str(tmp_path), ROS_DISTRO='kilted')
    assert done.returncode == 1
    assert f'ROS 2 from wheels, but {tmp_path}/rclpy/__init__.py comes first' in done.stderr
    assert run(program).stdout == 'fits\n'


def test_a_client_library_of_another_python_is_named() -> None:
    error = ImportError("No module named 'rclpy._rclpy_pybind11'", name='rclpy._rclpy_pybind11')
    line = interpreter.why_not_imported(error)
    assert f'of Python {sys.version_info[0]}.{sys.version_info[1]}' in line
    assert 'make setup' in line


HIDE = 'import sys\nfor name in ("torch", "cv2", "scipy"): sys.modules[name] = None\n'


def test_launch_files_need_neither_pytorch_nor_opencv() -> None:
    done = run(
        HIDE + 'import lb_ros.launching, lb_ros.dds_profile, lb_ros.start, lb_ros.interpreter\n'
        'print(lb_ros.launching.plan({})[0].executable)'
    )
    assert done.stdout == 'bringup\n', done.stderr


@pytest.mark.parametrize('name', ON_A_ROBOT)
def test_help_needs_neither_pytorch_nor_opencv(name: str) -> None:
    words = [name, '--help'] if name else ['--help']
    done = run(HIDE + 'from lb_ros.cli import run_program; sys.exit(run_program())', *words)
    assert done.returncode == 0, done.stderr
    assert 'usage: lb-ros' in done.stdout
    assert not name or name in SUBCOMMANDS


def test_a_subcommand_that_lacks_a_package_names_it() -> None:
    program = 'import sys; sys.modules["pyarrow"] = None\n'
    program += 'from lb_ros.cli import run_program; sys.exit(run_program())'
    assert run(program, 'score', '--help').returncode == 0
    done = run(program, 'score', str(ROOT / 'lb_ros/data/demo_bag'), '-o', 'scored')
    assert done.returncode == 1, done.stderr
    assert done.stderr.count('\n') == 1, done.stderr
    assert done.stderr.startswith('lb-ros score: needs pyarrow')
    assert 'make setup' in done.stderr


@pytest.mark.parametrize('name', ['Binder', 'PredicateBank', 'decode_image', 'LIVE'])
def test_encoders_import_their_names_on_first_use(name: str) -> None:
    done = run(f'import sys, encoders; assert "torch" not in sys.modules; encoders.{name}')
    assert done.returncode == 0, done.stderr
    done = run('from encoders import Binders')
    assert "cannot import name 'Binders' from 'encoders'" in done.stderr
