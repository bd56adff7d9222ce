"""Both manifests, the interfaces and the text of the project agree with each other."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lb_ros.launching import NODES

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


def test_every_node_is_a_program_of_its_name() -> None:
    for name in NODES:
        assert (ROOT / 'bin' / name).resolve() == ROOT / 'bin' / 'bringup'


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


def test_every_requirement_is_locked() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    locked = (ROOT / 'requirements' / 'base.txt').read_text()
    for requirement in project['dependencies']:
        assert re.search(rf'^{re.escape(requirement)}==', locked, re.M), requirement


# Modules that rosdep has a key for, of those that the programs of a robot import.
ROSDEP = {
    'numpy': 'python3-numpy',
    'cv2': 'python3-opencv',
    'yaml': 'python3-yaml',
    'scipy': 'python3-scipy',
    'rich': 'python3-rich',
    'sklearn': 'python3-sklearn',
    'uvicorn': 'python3-uvicorn',
}
# scripts/robot.sh makes an environment with it.
TOOLS = {'python3-venv', 'ros2launch', 'rosidl_default_runtime'}
# Installed by requirements/robot.txt, under these names.
FROM_PIP = {
    'torch': 'torch',
    'safetensors': 'safetensors',
    'tokenizers': 'tokenizers',
    'starlette': 'starlette',
    'sounddevice': 'sounddevice',
    'huggingface_hub': 'huggingface-hub',
    'mcap': 'mcap',
    'pydantic': 'pydantic',
    'rosbags': 'rosbags',
    'zstandard': 'zstandard',
}
# For released checkpoints, bench, export and training, which run on a workstation, for behaviour
# trees and for other engines, whose users have them.
NOT_ON_A_ROBOT = {'ftfy', 'onnxruntime', 'open_clip', 'py_trees', 'tensorrt'}
OWN = {'encoders', 'lb_ros', 'train'}


def imports_of(*folders: str) -> set[str]:
    """Top-level names of all modules that the files of these folders import, at any depth."""
    found = set()
    for folder in folders:
        paths = [p for p in sorted((ROOT / folder).rglob('*')) if p.suffix == '.py']
        assert paths, folder
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.split('.')[0])
    return found - OWN - set(sys.stdlib_module_names)


def declared() -> set[str]:
    """What package.xml asks for at run time."""
    tree = ElementTree.parse(ROOT / 'package.xml').getroot()
    return {str(e.text) for kind in ('depend', 'exec_depend') for e in tree.findall(kind)}


def interfaces_used() -> set[str]:
    """Packages that the interfaces name; actions are built on action_msgs."""
    lines = [line for path in INTERFACES for line in path.read_text().splitlines()]
    return {'action_msgs', *(m[1] for m in (re.match(r'(\w+)/', line) for line in lines) if m)}


def test_package_xml_names_what_the_programs_of_a_robot_import() -> None:
    imported = imports_of('encoders', 'lb_ros', 'launch')
    needed = {ROSDEP.get(name, name) for name in imported - set(FROM_PIP) - NOT_ON_A_ROBOT}
    assert needed | interfaces_used() | TOOLS == declared()


def test_packages_unknown_to_rosdep_are_locked_for_robots() -> None:
    locked = (ROOT / 'requirements' / 'robot.txt').read_text()
    for name in FROM_PIP.values():
        assert re.search(rf'^{name}==', locked, re.M), name
    for key in ROSDEP.values():
        name = key.removeprefix('python3-')
        assert not re.search(rf'^(py)?{name}==', locked, re.M), f'{name} is the one of apt'


def test_a_robot_runs_the_versions_that_are_tested() -> None:
    tested = (ROOT / 'requirements' / 'base.txt').read_text()
    for name in FROM_PIP.values():
        locked = (ROOT / 'requirements' / 'robot.txt').read_text()
        version = re.search(rf'^{name}==([\w.]+)', locked, re.M)
        assert version is not None, name
        assert re.search(rf'^{name}=={re.escape(version[1])}', tested, re.M), name
