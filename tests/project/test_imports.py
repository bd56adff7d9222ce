"""The import table: which room may use which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    'encoders': {'rclpy', 'train', 'lb_ros', 'sensor_msgs', 'std_msgs'},
    'train': {'rclpy', 'lb_ros', 'sensor_msgs', 'std_msgs'},
    # The command line and the demonstration may call train, but only inside functions.
    'lb_ros': {'train'},
}
# Not in the wheels, so nothing but launch files may need them at import time.
NOT_IN_WHEELS = {'launch', 'launch_ros', 'ros2cli', 'rosbag2_py', 'cv_bridge', 'tf2_ros'}


def imported(path: Path, *, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split('.')[0])
    return found


@pytest.mark.parametrize('room', FORBIDDEN)
def test_no_room_imports_what_it_must_not(room: str) -> None:
    files = sorted((ROOT / room).rglob('*.py'))
    assert files
    for path in files:
        found = imported(path, top_level_only=room == 'lb_ros')
        assert not found & FORBIDDEN[room], path
        assert not found & NOT_IN_WHEELS, path


def test_the_command_line_and_the_offline_rooms_need_no_ros() -> None:
    program = (
        'import sys; sys.modules["rclpy"] = None\n'
        'import lb_ros, lb_ros.cli, encoders, train.cli, train.simulate.cli\n'
        'names = ("train", "eval", "calibrate", "sim", "models", "score", "index", "search",'
        ' "dashboard")\n'
        'for name in names:\n'
        '    try: lb_ros.cli.main([name, "--help"])\n'
        '    except SystemExit as stop: assert stop.code == 0, name\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('example: lb-ros') >= 9
