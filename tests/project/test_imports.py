"""The import table: which room may import which, and that imports run one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROS = {
    'rclpy', 'sensor_msgs', 'std_msgs', 'diagnostic_msgs', 'geometry_msgs', 'lifecycle_msgs',
    'rcl_interfaces', 'std_srvs',
}  # fmt: skip
# Not in the wheels, so nothing but launch files may need them at import time.
NOT_IN_WHEELS = {'launch', 'launch_ros', 'ros2cli', 'rosbag2_py', 'cv_bridge', 'tf2_ros'}
# Room -> rooms it may import, or whole packages other than its own. Modules beside the rooms
# (`encoders.errors`) are open to all rooms of their package. What `lb_ros` takes of `train` it
# imports inside functions.
TABLE: dict[str, set[str]] = {
    'encoders.decode': set(),
    'encoders.preprocess': {'encoders.decode'},
    'encoders.vision': set(),
    'encoders.text': set(),
    'encoders.languagebind': {'encoders.vision', 'encoders.text', 'encoders.preprocess'},
    'encoders.model_sets': {
        'encoders.decode',
        'encoders.vision',
        'encoders.text',
        'encoders.preprocess',
        'encoders.languagebind',
    },
    'encoders.predicates': {'encoders.model_sets', 'encoders.vision'},
    'train.recordings': {'encoders'},
    'train.bags': {'encoders', 'train.recordings'},
    'train.views': {'encoders'},
    'train.pairs': {'encoders', 'train.bags', 'train.recordings', 'train.views'},
    'train.evaluation': {'encoders', 'train.bags', 'train.pairs'},
    'train.training': {'encoders', 'train.bags', 'train.pairs', 'train.evaluation'},
    'train.calibration': {'encoders', 'train.bags', 'train.evaluation'},
    'train.score': {'encoders', 'train.bags'},
    'train.teaching': {'encoders', 'train.bags', 'train.evaluation', 'train.score'},
    'train.search': {'encoders', 'train.bags', 'train.score'},
    'train.simulate': {'encoders', 'train.bags'},
    'lb_ros.engine': {'encoders'},
    'lb_ros.ros': {'encoders', 'lb_ros.engine'},
    'lb_ros.nodes': {'encoders', 'lb_ros.engine', 'lb_ros.ros', 'train'},
    'lb_ros.client': {'encoders', 'lb_ros.ros'},
    'lb_ros.cli': {
        'encoders',
        'lb_ros.ros',
        'lb_ros.client',
        'lb_ros.demo',
        'lb_ros.dashboard',
        'lb_ros.bench',
        'lb_ros.start',
        'train',
    },
    'lb_ros.demo': {'encoders', 'lb_ros.ros', 'lb_ros.client', 'train'},
    'lb_ros.dashboard': {
        'encoders',
        'lb_ros.engine',
        'lb_ros.nodes',
        'lb_ros.ros',
        'lb_ros.client',
        'train',
    },
    'lb_ros.bench': {'encoders', 'lb_ros.engine', 'lb_ros.ros', 'train'},
}
# The face of a package, its command line, and what starts nodes or a client import rooms.
ABOVE_THE_ROOMS = {'encoders', 'train.cli', 'lb_ros.start', 'lb_ros.behaviours'}


def modules() -> dict[str, Path]:
    """Dotted name to file of every module of the three packages."""
    found = {}
    for package in ('encoders', 'lb_ros', 'train'):
        for path in sorted((ROOT / package).rglob('*.py')):
            parts = path.relative_to(ROOT).with_suffix('').parts
            found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


MODULES = modules()


def imported(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names of the modules that a file imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                module = f'{node.module}.{alias.name}'
                yield module if module in MODULES else node.module


def room_of(module: str) -> str:
    """`encoders.vision` of `encoders.vision.vit`; the package of a module beside its rooms."""
    head = '.'.join(module.split('.')[:2])
    return head if head in TABLE else head.split('.')[0]


@pytest.mark.parametrize('room', TABLE)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    own = room.split('.')[0]
    files = {name: path for name, path in MODULES.items() if room_of(name) == room}
    assert files
    for name, path in files.items():
        for module in imported(path):
            package, target = module.split('.')[0], room_of(module)
            if package not in ('encoders', 'train', 'lb_ros'):
                continue
            if package == own:
                fits = {target, module} & (TABLE[room] | {room}) or (
                    target == own and module not in ABOVE_THE_ROOMS
                )
            else:
                fits = package in TABLE[room] or target in TABLE[room]
            assert fits, f'{name} -> {module}'


def test_modules_beside_the_rooms_import_no_room() -> None:
    for name, path in MODULES.items():
        if room_of(name) not in TABLE and name not in ABOVE_THE_ROOMS:
            for module in imported(path):
                own = module.split('.')[0] == name.split('.')[0]
                assert not own or room_of(module) not in TABLE, f'{name} -> {module}'


def test_imports_run_one_way() -> None:
    arrows = {
        name: {m for m in imported(path, top_level_only=True) if m in MODULES and m != name}
        for name, path in MODULES.items()
    }
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f'these import each other: {", ".join(sorted(arrows))}'


@pytest.mark.parametrize('package', ['encoders', 'train'])
def test_offline_packages_import_no_ros(package: str) -> None:
    for path in sorted((ROOT / package).rglob('*.py')):
        found = {module.split('.')[0] for module in imported(path)}
        assert not found & (ROS | {'lb_ros'}), path
        assert package != 'encoders' or 'train' not in found, path


def test_lb_ros_imports_train_only_inside_functions() -> None:
    for path in sorted((ROOT / 'lb_ros').rglob('*.py')):
        found = {module.split('.')[0] for module in imported(path, top_level_only=True)}
        assert 'train' not in found, path


def test_nothing_needs_packages_that_the_wheels_lack() -> None:
    for package in ('encoders', 'lb_ros', 'train'):
        for path in sorted((ROOT / package).rglob('*.py')):
            found = {module.split('.')[0] for module in imported(path)}
            assert not found & NOT_IN_WHEELS, path


def test_the_command_line_and_the_offline_rooms_need_no_ros() -> None:
    program = (
        'import sys; sys.modules["rclpy"] = None\n'
        'import lb_ros, lb_ros.cli, encoders, train.cli, train.simulate.cli\n'
        'names = ("train", "eval", "calibrate", "sim", "models", "score", "index", "search",'
        ' "dashboard", "label")\n'
        'for name in names:\n'
        '    try: lb_ros.cli.main([name, "--help"])\n'
        '    except SystemExit as stop: assert stop.code == 0, name\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('example: lb-ros') >= 10
