"""Sensors come first, and services are never forgotten."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import UInt32
from std_srvs.srv import Trigger

from lb_ros.ros.executor import AtOnce, SensorsFirstExecutor
from tests.waiting import wait_until

LIMIT_S = 20.0
QUIET_S = 600.0  # how long a wait lasts where nothing comes, unless a service ends it
pytestmark = pytest.mark.ros


class Watched(SensorsFirstExecutor):
    """Keeps whether each service and topic was waited for, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for: dict[str, set[bool]] = defaultdict(set)

    def can_execute(self, entity: Any) -> bool:
        found = super().can_execute(entity)
        name = getattr(entity, 'srv_name', getattr(entity, 'topic_name', ''))
        self.waited_for[name].add(found)
        return found


@pytest.fixture
def robot(ros_domain: int) -> Iterator[Node]:
    """A node with a service and a subscription, at work in another thread."""
    rclpy.init()
    node = Node('robot')
    node.heard = 0

    def hear(message: Any) -> None:
        node.heard += 1

    def answer(request: Any, response: Any) -> Any:
        response.success = True
        return response

    node.create_subscription(UInt32, 'numbers', hear, 10)
    node.create_service(Trigger, 'ask', answer)
    node.create_service(Trigger, 'ask_at_once', answer, callback_group=AtOnce())
    executor = Watched()
    executor.add_node(node)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=QUIET_S)

    thread = threading.Thread(target=work)
    thread.start()
    yield node
    executor.create_task(stop.set)  # work ends the wait
    thread.join()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


@contextmanager
def numbers(robot: Node, rate_hz: float) -> Iterator[Callable[[str], bool]]:
    """While numbers flow; gives a function that asks a service and waits for its answer."""
    other = Node('other')
    executor = SingleThreadedExecutor()
    executor.add_node(other)
    sender = other.create_publisher(UInt32, 'numbers', 10)

    def ask(service: str) -> bool:
        client = other.create_client(Trigger, service)
        assert client.wait_for_service(LIMIT_S)
        answer = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(answer, LIMIT_S)
        return answer.done() and answer.result().success

    if rate_hz:
        other.create_timer(1 / rate_hz, lambda: sender.publish(UInt32()))
        spin = partial(executor.spin_once, timeout_sec=1.0)
        wait_until(lambda: robot.heard > 10, limit_s=LIMIT_S, meanwhile=spin)
    yield ask
    executor.shutdown()
    other.destroy_node()


@pytest.mark.parametrize('rate_hz', [0, 500])
def test_a_service_is_answered_whatever_flows(robot: Node, rate_hz: int) -> None:
    with numbers(robot, rate_hz) as ask:
        assert all(ask(service) for service in ('ask', 'ask_at_once') for _ in range(5))


def test_while_messages_flow_only_urgent_services_are_looked_at_in_every_wait(
    robot: Node,
) -> None:
    with numbers(robot, 500) as ask:
        waited_for = robot.executor.waited_for
        waited_for.clear()
        assert all(ask('ask') for _ in range(3))
        assert waited_for['ask'] == {True, False}
        assert waited_for['ask_at_once'] == waited_for['/numbers'] == {True}
