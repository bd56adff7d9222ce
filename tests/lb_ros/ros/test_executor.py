"""Sensors come first, and services are never forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import UInt32
from std_srvs.srv import Trigger

from lb_ros.ros.executor import PATIENCE_S, AtOnce, SensorsFirstExecutor

LIMIT_S = 20.0
QUIET_S = 3.0  # how long a wait lasts where nothing comes
pytestmark = pytest.mark.ros


@pytest.fixture
def robot() -> Iterator[Node]:
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
    executor = SensorsFirstExecutor()
    executor.add_node(node)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=QUIET_S)

    thread = threading.Thread(target=work)
    thread.start()
    yield node
    stop.set()
    thread.join()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


def waits_s(robot: Node, service: str, rate_hz: int, count: int) -> list[float]:
    """How long answers take while numbers flow."""
    other = Node('other')
    executor = SingleThreadedExecutor()
    executor.add_node(other)
    client = other.create_client(Trigger, service)
    numbers = other.create_publisher(UInt32, 'numbers', 10)
    assert client.wait_for_service(LIMIT_S)
    if rate_hz:
        other.create_timer(1 / rate_hz, lambda: numbers.publish(UInt32()))
        end_s, heard = time.monotonic() + LIMIT_S, robot.heard
        while robot.heard < heard + 10:
            assert time.monotonic() < end_s, 'no numbers are heard'
            executor.spin_once(timeout_sec=1.0)
    found = []
    for _ in range(count):
        began_s = time.monotonic()
        answer = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(answer, LIMIT_S)
        assert answer.done() and answer.result().success
        found.append(time.monotonic() - began_s)
    executor.shutdown()
    other.destroy_node()
    return found


@pytest.mark.parametrize('rate_hz', [0, 500])
def test_a_service_is_answered_whatever_flows(robot: Node, rate_hz: int) -> None:
    # A service that had to wait for the end of a quiet wait would take far longer.
    assert median(waits_s(robot, 'ask', rate_hz, 10)) < PATIENCE_S + 0.5


def test_urgent_services_are_answered_at_once(robot: Node) -> None:
    urgent = median(waits_s(robot, 'ask_at_once', 500, 20))
    patient = median(waits_s(robot, 'ask', 500, 20))
    assert patient > PATIENCE_S / 2
    assert urgent < 0.7 * patient


def test_services_are_not_looked_at_while_messages_flow(robot: Node) -> None:
    service = next(each for each in robot.services if each.srv_name.endswith('ask'))
    urgent = next(each for each in robot.services if each.srv_name.endswith('ask_at_once'))
    subscription = next(each for each in robot.subscriptions if each.topic_name == '/numbers')
    executor = SensorsFirstExecutor()
    assert all(executor.can_execute(each) for each in (service, urgent, subscription))
    executor._looks_at_all = False
    assert not executor.can_execute(service)
    assert executor.can_execute(urgent) and executor.can_execute(subscription)
    executor.shutdown()
