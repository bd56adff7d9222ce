"""Machines with a ROS 2 from apt, and a workspace on each in which README.md was followed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apt_ros.readme import commands
from tests.apt_ros.shared_torch import make_wheels
from tests.apt_ros.stand_in import ROOT, StandIn, cached
from tests.apt_ros.terminal import Done, Terminal, quoted

SECTION = 'On a robot'
OWN = f'{sys.version_info.major}.{sys.version_info.minor}'
VERSIONS = sorted({OWN, '3.12'})
UPSTREAM = 'LB_ROS_UPSTREAM_LAUNCH'
ROSDEP = Path(__file__).with_name('rosdep')
# Downloads of some hundred MB, and a compiler that shares its two cores with other tests.
INSTALL_S = 1800.0
STARTS_NODES = ('ros2 launch', 'ros2 run', 'lb-ros up')


@pytest.fixture(scope='session', params=VERSIONS)
def machine(request: pytest.FixtureRequest) -> StandIn:
    """A machine with that version of Python, made once for all runs."""
    folder = os.environ.get(UPSTREAM)
    try:
        return cached(request.param, Path(folder).absolute() if folder else None)
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def needs_launch(machine: StandIn) -> None:
    """Skips where upstream's `ros2` is not to be had."""
    if not machine.has_launch:
        pytest.skip(
            f'no `ros2`: launch, launch_ros and ros2cli are not on PyPI; set {UPSTREAM} to a '
            'folder with checkouts of them, branch jazzy'
        )


@pytest.fixture(scope='session')
def home(machine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's home folder; removed at the end, since virtual environments are large."""
    folder = tmp_path_factory.mktemp(f'home-{machine.version}-')
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='session')
def checkout(home: Path) -> Path:
    """What `git clone` gives, with changes that are not committed yet."""
    folder = home / 'clone' / 'lb_ros'
    listed = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard', '-z'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split('\0')):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='session')
def unsourced(machine: StandIn, home: Path, checkout: Path) -> Terminal:
    """A terminal in the home folder, in which nothing was sourced."""
    sources = home / 'rosdep'
    sources.mkdir()
    (sources / '20-stand-in.list').write_text(f'yaml file://{ROSDEP}/rosdep.yaml\n')
    cache = subprocess.run(
        [sys.executable, '-m', 'pip', 'cache', 'dir'], capture_output=True, text=True, check=True
    )
    links = f'{make_wheels(machine)} {os.environ.get("PIP_FIND_LINKS", "")}'.strip()
    extra = {
        'APT_LOG': f'{home}/apt.log',
        'LB_CHECKOUT': str(checkout),
        'PIP_CACHE_DIR': cache.stdout.strip(),
        'PIP_FIND_LINKS': links,
        'ROSDEP_SOURCE_PATH': str(sources),
        'ROSDISTRO_INDEX_URL': f'file://{ROSDEP}/index-v4.yaml',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(1 + (os.getpid() * 7 + 50) % 100),
        'ROS_OS_OVERRIDE': 'ubuntu:24.04:noble',
    }
    return Terminal(home, machine.environment(home, extra))


@pytest.fixture(scope='session')
def sourced(machine: StandIn, unsourced: Terminal, home: Path) -> Terminal:
    """A terminal in which ROS was sourced, and no workspace."""
    terminal = unsourced.another(home)
    done = terminal.run(f'. {quoted(machine.ros)}/setup.bash && rosdep update')
    assert done.status == 0, done.report
    return terminal


@dataclass(frozen=True, slots=True)
class Followed:
    """README.md's section about robots, followed.

    Attributes:
        steps: Its commands up to the first one that failed, of those that end by themselves.
        nodes: Its commands that start nodes, which were not run.
        terminal: The one they were typed in.
    """

    steps: list[Done]
    nodes: list[str]
    terminal: Terminal


@pytest.fixture(scope='session')
def attempt(machine: StandIn, unsourced: Terminal, sourced: Terminal, home: Path) -> Followed:
    """The section, followed until a command fails."""
    # The section begins where its reader has a sourced ROS, and may source it as well.
    terminal = sourced.another(home)
    steps: list[Done] = []
    nodes: list[str] = []
    for command in commands(SECTION):
        if command.startswith(STARTS_NODES):
            nodes.append(command)
            continue
        here = command.replace('/opt/ros/jazzy', str(machine.ros))
        steps.append(terminal.run(here, INSTALL_S))
        if steps[-1].status != 0:
            break
    return Followed(steps, nodes, terminal)


@pytest.fixture
def robot(attempt: Followed) -> Followed:
    """The section, followed without a failure; else the test is skipped, and another one fails."""
    if attempt.steps[-1].status != 0:
        pytest.skip(f'README.md cannot be followed: {attempt.steps[-1].command}')
    return attempt
