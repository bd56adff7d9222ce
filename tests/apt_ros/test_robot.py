"""README.md's section about robots, followed word by word on a machine with ROS from apt."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.apt_ros.conftest import Followed
from tests.apt_ros.stand_in import StandIn
from tests.apt_ros.terminal import Done, Running, Terminal, quoted

pytestmark = [pytest.mark.ros, pytest.mark.slow]

NEIGHBOUR = Path(__file__).with_name('neighbour')
START_S, DEMO_S = 240.0, 600.0
QUERY = 'lb-ros query "the stove is hot" --timeout 5'
# Whose import shows: written to a file, since code may import them "if they are there".
MARK = "import os; print('imported', __name__, file=open(os.environ['IMPORTS'], 'a'))\n"
HEAVY = ('torch', 'cv2')


def wait_for_answer(terminal: Terminal, nodes: Running) -> Done:
    """Ask until the nodes answer."""
    limit_s = time.monotonic() + START_S
    for _ in itertools.count():
        done = terminal.run(QUERY)
        if done.status == 0:
            return done
        assert nodes.process.poll() is None, nodes.done(nodes.process.returncode).report
        assert time.monotonic() < limit_s, f'{done.report}\n{nodes.done().report}'
    raise AssertionError


def start_ask_stop(terminal: Terminal, command: str, log: Path) -> Done:
    """Start nodes in a terminal, ask them from another one, and end them with Ctrl-C."""
    with terminal.running(command, log) as nodes:
        wait_for_answer(terminal.another(terminal.folder), nodes)
        done = nodes.interrupt()
    assert done.status == 0, done.report
    assert 'Traceback' not in done.output, done.report
    return done


def import_marks(folder: Path, names: Sequence[str] = HEAVY) -> dict[str, str]:
    """Modules of these names that note their import; returns the variables that point at them."""
    for name in names:
        (folder / f'{name}.py').write_text(MARK)
    return {'IMPORTS': str(folder / 'imports')}


def test_every_command_of_the_readme_succeeds(attempt: Followed) -> None:
    for done in attempt.steps:
        assert done.status == 0, done.report
        assert 'Traceback' not in done.output, done.report
    assert any('colcon build' in done.command for done in attempt.steps)
    assert attempt.nodes


@pytest.mark.usefixtures('needs_launch')
def test_every_launch_command_of_the_readme_answers_and_ends(
    robot: Followed, ros_domain: int, tmp_path: Path
) -> None:
    terminal = robot.terminal.another(robot.terminal.folder, ROS_DOMAIN_ID=str(ros_domain))
    for number, command in enumerate(robot.nodes):
        # The machine that runs the tests has no GPU.
        here = command.replace('device:=cuda:0', 'device:=cpu')
        start_ask_stop(terminal, here, tmp_path / f'{number}.txt')


@pytest.mark.usefixtures('needs_launch')
@pytest.mark.parametrize('verb', ['launch', 'run'])
def test_ros2_finds_the_packages_of_the_nodes_by_itself(
    machine: StandIn, robot: Followed, ros_domain: int, tmp_path: Path, verb: str
) -> None:
    terminal = robot.terminal.another(robot.terminal.folder, ROS_DOMAIN_ID=str(ros_domain))
    located = terminal.run('head -n 1 "$(which ros2)"; "$(which python3)" -c "import torch"')
    assert located.output.startswith(f'#!{machine.python}'), located.report
    assert "No module named 'torch'" in located.output, located.report
    file = '.launch.py' if verb == 'launch' else ''
    start_ask_stop(terminal, f'ros2 {verb} lb_ros bringup{file}', tmp_path / 'nodes.txt')


def test_nodes_start_without_ros2(robot: Followed, ros_domain: int, tmp_path: Path) -> None:
    terminal = robot.terminal.another(robot.terminal.folder, ROS_DOMAIN_ID=str(ros_domain))
    prefix = terminal.run('dirname "$(dirname "$(which lb-ros)")"').output.strip()
    start_ask_stop(terminal, f'{prefix}/lib/lb_ros/bringup', tmp_path / 'nodes.txt')


def test_the_demonstration_runs(robot: Followed, ros_domain: int) -> None:
    terminal = robot.terminal.another(robot.terminal.folder, ROS_DOMAIN_ID=str(ros_domain))
    done = terminal.run('lb-ros demo --headless', DEMO_S)
    assert done.status == 0, done.report
    assert 'Traceback' not in done.output, done.report


@pytest.mark.usefixtures('needs_launch')
def test_launch_files_import_neither_torch_nor_cv2(robot: Followed, tmp_path: Path) -> None:
    extra = import_marks(tmp_path)
    terminal = robot.terminal.another(robot.terminal.folder, **extra)
    share = terminal.run('ros2 pkg prefix --share lb_ros').output.strip()
    files = sorted(Path(share).glob('launch/*.launch.py'))
    assert files
    for file in files:
        command = f'PYTHONPATH={quoted(tmp_path)}:$PYTHONPATH ros2 launch lb_ros {file.name}'
        done = terminal.run(f'{command} --show-args')
        assert done.status == 0, done.report
        assert 'Arguments' in done.output, done.report
    assert not Path(extra['IMPORTS']).exists(), Path(extra['IMPORTS']).read_text()


def test_help_imports_neither_torch_nor_cv2(robot: Followed, tmp_path: Path) -> None:
    extra = import_marks(tmp_path)
    terminal = robot.terminal.another(robot.terminal.folder, **extra)
    for words in ('', 'query', 'watch', 'up', 'demo', 'dashboard'):
        command = f'PYTHONPATH={quoted(tmp_path)}:$PYTHONPATH lb-ros {words} --help'
        done = terminal.run(command)
        assert done.status == 0, done.report
        assert 'usage: lb-ros' in done.output, done.report
    assert not Path(extra['IMPORTS']).exists(), Path(extra['IMPORTS']).read_text()


def test_other_packages_keep_the_numpy_of_the_system(
    machine: StandIn, robot: Followed, sourced: Terminal
) -> None:
    probe = 'python3 -c "import cv_bridge_stand_in, numpy; print(numpy.__version__)"'
    done = robot.terminal.another(robot.terminal.folder).run(probe)
    assert (done.status, done.output) == (0, '1.26.4\n'), done.report
    for name in ('PYTHONPATH', 'LD_LIBRARY_PATH'):
        before = sourced.environment[name].split(':')
        after = robot.terminal.environment[name].split(':')
        for folder in filter(None, after):
            assert folder in before or '/install/' in f'{folder}/', (name, folder)
    assert not (machine.root / 'usr' / 'lib' / f'python{machine.version}' / 'site-packages' /
                'torch').exists()  # fmt: skip


@pytest.mark.usefixtures('needs_launch')
def test_a_node_of_another_package_in_the_same_launch_keeps_it_too(
    robot: Followed, home: Path, ros_domain: int, tmp_path: Path
) -> None:
    terminal = robot.terminal.another(home, ROS_DOMAIN_ID=str(ros_domain))
    shutil.copytree(NEIGHBOUR, home / 'neighbour_ws' / 'src' / 'neighbour', dirs_exist_ok=True)
    built = terminal.run('cd neighbour_ws && colcon build && . install/setup.bash')
    assert built.status == 0, built.report
    done = start_ask_stop(terminal, 'ros2 launch neighbour both.launch.py', tmp_path / 'both.txt')
    assert 'neighbour: numpy 1.26.4' in done.output, done.report


def test_apt_is_asked_for_what_apt_has(robot: Followed, home: Path) -> None:
    asked = set((home / 'apt.log').read_text().split())
    rules = (Path(__file__).with_name('rosdep') / 'rosdep.yaml').read_text()
    assert {'python3-numpy', 'python3-opencv', 'python3-scipy', 'python3-venv'} <= asked
    assert not {word for word in asked if word.startswith('python3-') and word not in rules}
