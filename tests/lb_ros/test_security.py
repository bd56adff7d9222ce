"""The SROS2 policy allows what the nodes do, and nobody opens a connection unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rclpy
from rclpy.action import (
    get_action_client_names_and_types_by_node,
    get_action_server_names_and_types_by_node,
)
from rclpy.node import Node

from lb_ros.launching import NODES
from lb_ros.nodes.process import _build

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / 'config' / 'sros2_policy.xml'


def allowed(kind: str, way: str) -> list[str]:
    """Expressions of the policy that allow `way` for `topic`, `service` or `action`."""
    rules = ElementTree.parse(POLICY).getroot().iter(f'{kind}s')
    found = [e.text or '' for r in rules if r.get(way) == 'ALLOW' for e in r.iter(kind)]
    return [f'/{name.lstrip("/")}' for name in found]


@pytest.fixture
def graph(ros_domain: int) -> Iterator[list[Node]]:
    rclpy.init()
    nodes = [node for name in NODES for node in _build(name).nodes]
    yield nodes
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_the_policy_names_all_that_the_nodes_have(graph: list[Node]) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for node in graph:
        me = (node.get_name(), node.get_namespace())
        asked = {
            ('topic', 'publish'): node.get_publisher_names_and_types_by_node(*me),
            ('topic', 'subscribe'): node.get_subscriber_names_and_types_by_node(*me),
            ('service', 'reply'): node.get_service_names_and_types_by_node(*me),
            ('service', 'request'): node.get_client_names_and_types_by_node(*me),
            ('action', 'execute'): get_action_server_names_and_types_by_node(node, *me),
            ('action', 'call'): get_action_client_names_and_types_by_node(node, *me),
        }
        for key, entries in asked.items():
            # Those that an action is made of are allowed together with it.
            names = {name for name, _ in entries if '/_action/' not in name}
            found.setdefault(key, set()).update(names)
    assert {'/predicates/state', '/diagnostics'} <= found['topic', 'publish']
    assert {'/camera/image', '/microphone/audio'} <= found['topic', 'subscribe']
    assert '/load_model' in found['service', 'reply']
    assert found['action', 'execute'] == {'/wait_for'}
    for key, names in found.items():
        expressions = allowed(*key)
        missing = {n for n in names if not any(fnmatch(n, e) for e in expressions)}
        assert not missing, (key, missing)


# Python reports what its sockets do; those of DDS are not Python's.
WATCHED = """
import os, sys
for name in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'):
    os.environ.pop(name, None)
asked = []
def hook(event, arguments):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto'):
        asked.append(f'{event} {arguments[1:]}')
        raise PermissionError(f'network: {event}')
sys.addaudithook(hook)
"""
USES = """
import numpy as np, rclpy
from encoders import Binder
binder = Binder.load('lb-mini')
binder.embed(image=np.zeros((8, 8, 3), np.uint8))
binder.embed_text(['the drawer is open'])
from lb_ros.nodes.process import _build
rclpy.init()
leader = _build('bringup').leader
leader.trigger_configure()
leader.trigger_activate()
assert leader.transitions.state == 'active', leader.transitions.failure
"""
ASKS = 'import socket\ntry: socket.create_connection(("192.0.2.1", 80), 1)\nexcept OSError: pass\n'
END = 'import os\nprint(asked, flush=True)\nos._exit(0)\n'


@pytest.mark.parametrize(('program', 'connects'), [(USES, False), (ASKS, True)])
def test_nothing_is_asked_of_the_network(ros_domain: int, program: str, connects: bool) -> None:
    done = subprocess.run(
        [sys.executable, '-c', WATCHED + program + END],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout.splitlines()[-1] != '[]') == connects, done.stdout


def test_a_node_that_must_be_secure_does_not_start_without_its_keys(
    ros_domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(tmp_path))
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['--enclave', '/lb_ros']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert 'SECURITY ERROR' in ended.stderr
    assert 'Traceback' not in ended.stderr
