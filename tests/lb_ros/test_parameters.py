"""Parameters are checked when they are declared, with a line that names the one that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402

from lb_ros.parameters import Parameters, declare_parameters  # noqa: E402

pytestmark = pytest.mark.ros
NewNode = Callable[..., Node]


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
    assert declare_parameters(node()) == Parameters()


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ('max_rate_hz:=fast', "parameter max_rate_hz: .*'fast'"),
        ('precision:=int3', 'parameter precision: must be one of auto'),
        ('threads:=-3', 'parameter threads: .*out of range'),
        ('modalities:=[touch]', "parameter modalities: unknown 'touch'"),
        ('modalities:=[]', 'parameter modalities: needs at least one of image'),
    ],
)
def test_a_wrong_value_is_named(node: NewNode, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare_parameters(node(setting))
