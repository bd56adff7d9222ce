"""Parameters are checked when they are declared, with a line that names the one that is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from encoders import LIVE
from lb_ros.nodes.bringup_node import BringupNode
from lb_ros.nodes.encoder_node import EncoderNode
from lb_ros.nodes.microphone_node import MicrophoneNode
from lb_ros.nodes.predicates_node import PredicatesNode
from lb_ros.parameter_table import Parameters
from lb_ros.ros.parameters import (
    Settings,
    batch_limit,
    declare_parameters,
    limits_of,
    thread_count,
    unknown_parameters,
)

pytestmark = pytest.mark.ros
NewNode = Callable[..., Node]
FILE = Path(__file__).resolve().parents[3] / 'config' / 'parameters.yaml'
# Every node of rclpy has these.
OF_RCLPY = ('use_sim_time', 'start_type_description_service')


@pytest.fixture
def node(ros_domain: int) -> Iterator[NewNode]:
    context = Context()
    context.init()
    nodes: list[Node] = []

    def new(*settings: str) -> Node:
        words = [word for setting in settings for word in ('-p', setting)]
        nodes.append(Node('robot', context=context, cli_args=['--ros-args', *words]))
        return nodes[-1]

    yield new
    for made in nodes:
        made.destroy_node()
    context.try_shutdown()


def test_the_defaults_are_those_of_the_record(node: NewNode) -> None:
    assert declare_parameters(node(), Parameters) == Parameters()


def test_on_a_cpu_sensors_are_encoded_one_at_a_time_and_a_core_is_left_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores, threads in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid, n=cores: set(range(n)))
        assert thread_count(Parameters()) == threads
    assert thread_count(Parameters(threads=8)) == 8
    assert batch_limit(Parameters()) == 1
    on_gpu = Parameters(device='cuda:0', modalities=['image', 'depth'])
    assert batch_limit(on_gpu) == 2
    assert batch_limit(Parameters(max_batch=3)) == batch_limit(replace(on_gpu, max_batch=3)) == 3


def test_an_unknown_parameter_is_named_with_the_nearest_one(node: NewNode) -> None:
    given = node('max_rate:=5.0', 'nonsense:=1', 'qos_overrides./depth.subscription.depth:=3')
    declare_parameters(given, Parameters)
    assert unknown_parameters([given]) == {'max_rate': 'max_rate_hz', 'nonsense': ''}
    # One file is for all processes, so those of other nodes are no mistake.
    assert unknown_parameters([node('video_window_s:=1.0', 'chunk_ms:=50')]) == {}


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ('max_rate_hz:=fast', 'parameter max_rate_hz: expected a number.*=15.0, not fast'),
        ('threads:=2.5', 'parameter threads: expected a whole number.*=0, not 2.5'),
        ('autostart:=1', 'parameter autostart: expected true or false.*=true, not 1'),
        ('precision:=int3', 'parameter precision: must be one of auto'),
        ('camera_priority:=101', 'parameter camera_priority: must be -100..100, not 101'),
        ('threads:=-3', 'parameter threads: must be 0..256, not -3'),
        ('modalities:=[smell]', "parameter modalities: unknown 'smell'"),
        ('modalities:=[]', 'parameter modalities: needs at least one of image'),
    ],
)
def test_a_wrong_value_is_named(node: NewNode, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare_parameters(node(setting), Parameters)


def test_a_limit_of_one_kind_of_sensor_changes_at_run_time(node: NewNode) -> None:
    made = node('depth_max_rate_hz:=5.0')
    settings = Settings(made)
    (set_now,) = made.set_parameters([Parameter('depth_priority', value=3)])
    assert set_now.successful
    limits = limits_of(settings.values)
    assert limits.period_s('depth') == 0.2
    assert limits.period_s('image') == 1 / Parameters().max_rate_hz
    assert (limits.priority('depth'), limits.priority('image')) == (3, 0)


def test_a_whole_number_for_a_float_is_accepted_at_run_time(node: NewNode) -> None:
    made = node()
    settings = Settings(made)
    (set_now,) = made.set_parameters([Parameter('max_rate_hz', value=5)])
    assert set_now.successful, set_now.reason
    assert settings.values.max_rate_hz == made.get_parameter('max_rate_hz').value == 5.0
    (refused,) = made.set_parameters([Parameter('max_rate_hz', value='fast')])
    assert not refused.successful


def test_a_value_that_is_no_choice_is_refused_at_run_time(node: NewNode) -> None:
    made = node()
    settings = Settings(made)
    (refused,) = made.set_parameters([Parameter('precision', value='int3')])
    assert not refused.successful and 'must be one of auto, fp32' in refused.reason
    assert settings.values.precision == 'auto'


def test_the_file_lists_all_parameters_of_all_nodes_with_their_defaults(ros_domain: int) -> None:
    context = Context()
    context.init()
    options: dict[str, Any] = {'context': context}
    encoders = [EncoderNode(name, **options) for name in LIVE]
    nodes = [BringupNode(**options), PredicatesNode(**options), *encoders]
    for node in nodes[1:]:
        Settings(node)
    for encoder in encoders:
        encoder.connect(None, None, inputs=(f'a/{encoder.modality.name}',))  # type: ignore[arg-type]
    microphone = MicrophoneNode(**options)
    try:
        found = {name: value for node in nodes for name, value in _own_parameters(node).items()}
        loaded = yaml.safe_load(FILE.read_text())
        assert found == loaded['/**']['ros__parameters']
        assert _own_parameters(microphone) == loaded['/**/microphone']['ros__parameters']
    finally:
        for node in (*nodes, microphone):
            node.destroy_node()
        context.try_shutdown()


def _own_parameters(node: Node) -> dict[str, Any]:
    return {
        name: parameter.value
        for name, parameter in node.get_parameters_by_prefix('').items()
        if name not in OF_RCLPY and not name.startswith('qos_overrides')
    }


@pytest.mark.parametrize('namespace', ['/', '/robot', '/fleet/robot'])
def test_the_sound_device_is_the_microphones_own_in_any_namespace(
    ros_domain: int, namespace: str
) -> None:
    # `device` is the torch device of every other node.
    context = Context()
    context.init(args=['--ros-args', '--params-file', str(FILE), '-r', f'__ns:={namespace}'])
    node = MicrophoneNode(context=context)
    assert node.parameters.device == ''
    node.destroy_node()
    context.try_shutdown()
