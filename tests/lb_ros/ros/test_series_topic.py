"""A topic of a series is polled without an executor, until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from geometry_msgs.msg import WrenchStamped
from rclpy.context import Context
from rclpy.node import Node

from lb_ros.ros.polled import Taken
from lb_ros.ros.series_topic import SeriesTopic
from tests.waiting import wait_until

pytestmark = pytest.mark.ros
LIMIT_S = 30.0


class Rig:
    """A polled topic, its publisher, and what was stored; nothing spins."""

    def __init__(self, context: Context) -> None:
        self.stored: list[float] = []
        self.threads: set[str] = set()
        self.fails = False
        self.node = Node('reader', context=context)
        self.robot = Node('robot', context=context)
        self.topic = SeriesTopic(
            self.node, 'wrench', 'wrench', store=self.store, on_mismatch=lambda *words: None
        )
        self.publisher = self.robot.create_publisher(WrenchStamped, 'wrench', 100)
        wait_until(lambda: self.publisher.get_subscription_count(), limit_s=LIMIT_S)

    def store(self, taken: Sequence[Taken]) -> None:
        self.threads.add(threading.current_thread().name)
        self.stored += [each.message.wrench.force.x for each in taken]
        if self.fails:
            raise ValueError('a message that cannot be stored')

    def send(self, *values: float) -> None:
        for value in values:
            message = WrenchStamped()
            message.wrench.force.x = value
            self.publisher.publish(message)

    def close(self) -> None:
        self.topic.close()
        self.node.destroy_node()
        self.robot.destroy_node()


@pytest.fixture
def rig(ros_domain: int) -> Iterator[Any]:
    context = Context()
    context.init(domain_id=ros_domain)
    made = Rig(context)
    yield made
    made.close()
    context.try_shutdown()


def test_messages_are_stored_in_order_although_nothing_spins(rig: Rig) -> None:
    sent = [float(number) for number in range(50)]
    rig.send(*sent)
    wait_until(lambda: len(rig.stored) == len(sent), limit_s=LIMIT_S, shows=lambda: rig.stored)
    assert rig.stored == sent
    assert rig.threads == {'series input'}


def test_an_error_does_not_end_the_thread(rig: Rig) -> None:
    rig.fails = True
    rig.send(1.0)
    wait_until(lambda: rig.stored == [1.0], limit_s=LIMIT_S)
    rig.fails = False
    rig.send(2.0)
    wait_until(lambda: rig.stored == [1.0, 2.0], limit_s=LIMIT_S)


def test_nothing_is_stored_after_close(rig: Rig) -> None:
    rig.send(1.0)
    wait_until(lambda: rig.stored == [1.0], limit_s=LIMIT_S)
    rig.topic.close()
    heard: list[Taken] = []
    other = SeriesTopic(
        rig.node, 'wrench', 'wrench', store=heard.extend, on_mismatch=lambda *words: None
    )
    wait_until(lambda: rig.publisher.get_subscription_count() == 2, limit_s=LIMIT_S)
    rig.send(2.0)
    wait_until(lambda: heard, limit_s=LIMIT_S)
    other.close()
    assert rig.stored == [1.0]
    assert not any(
        thread.name == 'series input' and thread.is_alive() for thread in threading.enumerate()
    )
