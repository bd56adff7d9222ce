"""`--help` of every node names what the node really has, and loads nothing to say it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lb_ros.launching import ENCODERS, NODES
from lb_ros.node_help import help_of, interface_of, offered, parameters_of
from lb_ros.ros_arguments import doubts, read_arguments
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
HEAVY = ('torch', 'cv2', 'rclpy', 'numpy', 'scipy')
LISTED = yaml.safe_load((ROOT / 'config' / 'parameters.yaml').read_text())
COMMON = LISTED['/**']['ros__parameters']


@pytest.mark.parametrize('node', NODES)
def test_the_help_lists_parameters_topics_and_an_example(node: str) -> None:
    text = help_of(node)
    assert f'example: ros2 run lb_ros {node}' in text
    assert max(map(len, text.splitlines())) <= 100
    for name, (default, comment) in parameters_of(node).items():
        assert f'  {name}: {default}\n      {comment.split()[0]}' in text, name
    for name in (*interface_of(node).subscribed, *interface_of(node).published):
        assert f'  {name} ' in text


def test_every_parameter_is_in_the_help_of_a_node() -> None:
    assert list(parameters_of('bringup')) == list(COMMON)
    own = LISTED['/**/microphone']['ros__parameters']
    assert {n: yaml.safe_load(d) for n, (d, _) in parameters_of('microphone').items()} == own
    apart = {name for node in (*ENCODERS, 'predicates') for name in parameters_of(node)}
    assert apart == set(COMMON) - {'modalities'}
    depth = parameters_of('depth_encoder')
    assert 'depth_mono16' in depth and 'depth_inputs' in depth
    assert not {'infrared_kind', 'camera_priority', 'capture', 'history_s'} & set(depth)
    assert parameters_of('microphone')['device'][1].startswith('Part of the name of an input')
    assert parameters_of('bringup')['model'][1].startswith('Model set: the name')


@pytest.mark.parametrize('node', ['depth_encoder', 'bringup', 'microphone'])
def test_the_help_loads_no_library_that_takes_long(node: str) -> None:
    # The process ends without any of Python's own hooks, so this one stands in for the end.
    program = (
        'import sys, lb_ros.start as start\n'
        f'def leave(status): print(sorted(set(sys.modules) & set({HEAVY}))); raise SystemExit\n'
        'start._leave = leave\n'
        f"start.start({node!r}, ['--help'])\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT
    )
    assert done.stdout == f'{help_of(node)}\n[]\n', done.stderr


def test_a_remapping_of_an_unknown_topic_is_reported() -> None:
    rules = ['depth/imge:=/zed', '/my/own:=/x', 'depth/image:=/y', '__ns:=/a']
    words = [word for rule in rules for word in ('-r', rule)]
    found = doubts(read_arguments('depth_encoder', ['--ros-args', *words]))
    assert found == [
        '-r depth/imge:=/zed: nothing here is named depth/imge; is depth/image meant?'
    ]


@pytest.mark.ros
@pytest.mark.parametrize('process', ['bringup', 'depth_encoder', 'predicates'])
def test_a_running_process_has_what_its_help_names(
    ros_domain: int, tiny_model_set: Path, process: str
) -> None:
    rclpy = pytest.importorskip('rclpy')
    command = [sys.executable, '-m', 'lb_ros.start', process, '--ros-args']
    running = subprocess.Popen(
        [*command, '-p', f'model:={tiny_model_set}'], stdout=subprocess.DEVNULL
    )
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('asking', context=context)
    one = interface_of(process)
    # A compressed form is subscribed to while a driver publishes no other.
    subscribed = {name for name in one.subscribed if '/compressed' not in name}
    # Tokens are subscribed to instead of embeddings where the model set has a readout.
    subscribed = {name for name in subscribed if not name.startswith('evidence/')}
    wanted = {*subscribed, *one.published, *one.served} - {'wait_for'}
    assert wanted <= set(offered(process))

    def missing() -> set[str]:
        assert running.poll() is None
        names = [name for name, _ in node.get_topic_names_and_types()]
        names += [name for name, _ in node.get_service_names_and_types()]
        return wanted - {name.strip('/') for name in names}

    try:
        wait_until(lambda: not missing(), limit_s=LIMIT_S, shows=missing)
    finally:
        running.terminate()
        running.wait(timeout=LIMIT_S)
        node.destroy_node()
        rclpy.shutdown(context=context)
