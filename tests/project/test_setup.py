"""What the set-up says on a machine that lacks something, before it makes anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
PROGRAMS = {
    'python3': f'exec "{sys.executable}" "$@"',
    'old': 'echo Python 3.9.2; [ "$1" = --version ]',
    'broken': 'echo cannot load libpython >&2; exit 3',
    'c++': 'exit 0',
}


@pytest.mark.parametrize(
    ('python', 'present', 'says'),
    [
        ('python3', ('python3',), 'no C++ compiler found'),
        ('python3', ('python3', 'c++'), 'no make found'),
        ('old', ('old',), 'Python 3.9.2 is too old'),
        ('broken', ('broken',), 'broken does not run: cannot load libpython'),
        ('snake', (), 'no snake found'),
    ],
)
def test_missing_tools_are_named(
    tmp_path: Path, python: str, present: tuple[str, ...], says: str
) -> None:
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name in ('bash', 'dirname'):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    for name in present:
        (programs / name).write_text(f'#!/bin/bash\n{PROGRAMS[name]}\n')
        (programs / name).chmod(0o755)
    (tmp_path / 'scripts').mkdir()
    shutil.copy(ROOT / 'scripts' / 'setup.sh', tmp_path / 'scripts')
    done = subprocess.run(
        ['bash', tmp_path / 'scripts' / 'setup.sh'],
        env={'PATH': str(programs), 'PYTHON': python},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('setup: ')
    assert says in done.stderr
    assert not (tmp_path / '.venv').exists()


def set_up(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up where only the checks before anything is made can end it."""
    programs = folder / 'bin'
    programs.mkdir()
    for name in ('bash', 'dirname'):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    (programs / 'python3').write_text(f'#!/bin/bash\n{PROGRAMS["python3"]}\n')
    (programs / 'python3').chmod(0o755)
    (folder / 'scripts').mkdir()
    shutil.copy(ROOT / 'scripts' / 'setup.sh', folder / 'scripts')
    return subprocess.run(
        ['bash', folder / 'scripts' / 'setup.sh'],
        env={'PATH': str(programs), **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def source(folder: Path, distro: str, client_library: str = '') -> dict[str, str]:
    """What a sourced distribution sets, with such an `rclpy`."""
    package = folder / 'ros' / 'rclpy'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(client_library)
    prefix = str(folder / 'ros')
    return {'ROS_DISTRO': distro, 'PYTHONPATH': prefix, 'AMENT_PREFIX_PATH': prefix}


def test_an_unsupported_distribution_is_named(tmp_path: Path) -> None:
    done = set_up(tmp_path, **source(tmp_path, 'humble'))
    assert done.returncode == 1
    assert done.stderr.startswith('setup: ROS 2 humble is sourced; lb_ros runs with these: jazzy')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('distro', ['jazzy', 'kilted', 'lyrical'])
def test_wheels_are_not_mixed_with_a_sourced_distribution(tmp_path: Path, distro: str) -> None:
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'pyvenv.cfg').write_text('include-system-site-packages = false\n')
    done = set_up(tmp_path, **source(tmp_path, distro))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f'setup: ROS 2 {distro} is sourced, but .venv has ROS 2 from wheels; `make clean` first'
    )


def test_an_environment_of_a_sourced_distribution_needs_it(tmp_path: Path) -> None:
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'pyvenv.cfg').write_text('include-system-site-packages = true\n')
    done = set_up(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('setup: .venv was made with a ROS 2 sourced: source it')


def test_a_client_library_of_another_python_is_named(tmp_path: Path) -> None:
    done = set_up(tmp_path, **source(tmp_path, 'jazzy', 'raise ImportError("other Python")'))
    assert done.returncode == 1
    assert 'cannot import its rclpy; set PYTHON to the Python of that ROS' in done.stderr


def test_a_sourced_distribution_without_a_client_library_is_named(tmp_path: Path) -> None:
    done = set_up(tmp_path, ROS_DISTRO='jazzy', AMENT_PREFIX_PATH='/opt/ros/jazzy')
    assert done.returncode == 1
    assert 'finds no rclpy: install ros-jazzy-rclpy' in done.stderr


@pytest.mark.parametrize(
    ('words', 'variables', 'says'),
    [
        ((), {'ROS_DISTRO': 'jazzy'}, 'say which PyTorch'),
        (('cpu',), {}, 'no ROS 2 is sourced: . /opt/ros/jazzy/setup.bash'),
        (('cpu',), {'ROS_DISTRO': 'humble'}, 'ROS 2 humble is sourced; lb_ros runs with these'),
        (('cuda',), {'ROS_DISTRO': 'jazzy'}, 'no Python here imports rclpy of ROS 2 jazzy'),
    ],
)
def test_the_set_up_of_a_robot_names_missing_tools(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        ['bash', ROOT / 'scripts' / 'robot.sh', *words],
        env={'PATH': '/usr/bin:/bin', 'LB_ROS_VENV': str(tmp_path / 'env'), **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f'robot: {says}')
    assert done.stderr.count('\n') == 1
    assert not (tmp_path / 'env').exists()
