"""Both manifests, the interfaces and the text of the project agree with each other."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted(
    path for kind in ('msg', 'srv', 'action') for path in (ROOT / kind).glob(f'*.{kind}')
)


def test_both_manifests_list_the_same_modules() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())
    packages = {
        name.rstrip('*') for name in project['tool']['setuptools']['packages']['find']['include']
    }
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    listed = re.search(r'foreach\(module ([\w ]+)\)', cmake)
    assert listed is not None
    assert packages == set(listed[1].split())


def test_both_manifests_have_the_same_version_and_licence() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    package = (ROOT / 'package.xml').read_text()
    assert f'<version>{project["version"]}</version>' in package
    assert f'<license>{project["license"]}</license>' in package


def test_every_node_is_installed() -> None:
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for path in (ROOT / 'bin').iterdir():
        assert f'bin/{path.name}' in cmake
        assert path.stat().st_mode & 0o111, f'{path} is not executable'


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_field_has_a_comment(path: Path) -> None:
    commented = False
    for line in path.read_text().splitlines():
        if line.startswith('#'):
            commented = True
        elif re.match(r'[\w/\[\]]+ \w+', line):
            assert commented, f'{path.name}: {line}'
            commented = False
        elif line.strip() == '---':
            commented = False


def test_every_locked_requirement_is_exact() -> None:
    for path in (ROOT / 'requirements').glob('*.txt'):
        for line in path.read_text().splitlines():
            if line and not line.lstrip().startswith('#'):
                assert re.match(r'[\w.\-\[\]]+==[\w.+!]+', line), f'{path.name}: {line}'


def test_what_the_project_needs_is_locked() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    locked = (ROOT / 'requirements' / 'base.txt').read_text()
    for requirement in project['dependencies']:
        assert re.search(rf'^{re.escape(requirement)}==', locked, re.M), requirement
