"""Which form of a sensor's pictures is subscribed to, against publishers that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from lb_ros.parameter_table import AUTO, RAW, TRANSPORTS
from lb_ros.ros.picture_topics import (
    SETTLE_S,
    PictureTopics,
    compressed_forms,
    wanted_forms,
)
from lb_ros.ros.stamps import to_stamp
from tests.waiting import wait_until

LIMIT_S = 30.0
FORMS = compressed_forms('depth')
LOOK_S = 0.05


@given(
    st.sampled_from(TRANSPORTS),
    st.sampled_from(['image', 'depth']),
    st.tuples(*[st.integers(0, 3)] * 3),
)
def test_at_most_one_compressed_form_is_wanted(
    transport: str, modality: str, counts: tuple[int, int, int]
) -> None:
    forms = compressed_forms(modality)
    publishers = dict(zip((RAW, *forms), counts, strict=False))
    wanted = wanted_forms(transport, forms, publishers)
    compressed = wanted - {RAW}
    assert wanted and len(compressed) <= 1
    if transport == RAW or (transport == AUTO and publishers[RAW]):
        assert not compressed
    if transport == 'compressed':
        assert RAW not in wanted
    # Whoever publishes is heard, unless its form was ruled out.
    for form in compressed if transport == AUTO else ():
        assert publishers[form]
    if transport != RAW and not publishers[RAW] and any(publishers[f] for f in forms):
        assert compressed == {next(f for f in forms if publishers[f])}


class Rig:
    """The subscriptions of a node, and a driver in a context of its own."""

    def __init__(self, domain: int, transport: str, *words: str, topic: str = 'depth/image'):
        self.stored: list[int] = []
        self.forms: list[str] = []
        self.contexts = (Context(), Context())
        for context in self.contexts:
            context.init(domain_id=domain)
        arguments = ['--ros-args', *words] if words else None
        self.node = Node('reader', context=self.contexts[0], cli_args=arguments)
        self.driver = Node('driver', context=self.contexts[1])
        self.pictures = PictureTopics(
            self.node,
            'depth',
            topic,
            transport=transport,
            store=lambda message: self.stored.append(message.header.stamp.nanosec),
            on_change=self.forms.append,
        )
        self.node.create_timer(LOOK_S, self.pictures.look)
        self.executors = [SingleThreadedExecutor(context=context) for context in self.contexts]
        self.executors[0].add_node(self.node)
        self.executors[1].add_node(self.driver)
        self.publishers: dict[str, Any] = {}
        self.compressed: dict[str, int] = dict.fromkeys(FORMS, 0)
        self.sent = 0

    def offer(self, *forms: str, topic: str = 'depth/image') -> None:
        for form in forms:
            name = topic if form == RAW else f'{topic}/{form}'
            kind = Image if form == RAW else CompressedImage
            self.publishers[form] = self.driver.create_publisher(kind, name, 5)

    def withdraw(self, *forms: str) -> None:
        for form in forms:
            self.driver.destroy_publisher(self.publishers.pop(form))

    def send(self) -> None:
        """A frame in every form, a compressed one only where somebody asks for it."""
        self.sent += 1
        for form, publisher in self.publishers.items():
            message = Image() if form == RAW else CompressedImage()
            message.header.stamp = to_stamp(self.sent)
            if form == RAW or publisher.get_subscription_count():
                self.compressed[form] = self.compressed.get(form, 0) + 1
                publisher.publish(message)

    def until(self, holds: Callable[[], Any], *, sending: bool = True) -> float:
        def meanwhile() -> None:
            if sending:
                self.send()
            for executor in self.executors:
                executor.spin_once(timeout_sec=0.01)

        began_s = time.monotonic()
        wait_until(
            holds,
            limit_s=LIMIT_S,
            meanwhile=meanwhile,
            shows=lambda: (self.forms, self.stored[-5:], self.sent),
        )
        return time.monotonic() - began_s

    def takes(self, form: str) -> None:
        """Wait until frames arrive in a form; nothing is compressed in the others."""
        self.until(lambda: self.pictures.form == form)
        others = [p for name, p in self.publishers.items() if name not in (form, RAW)]
        self.until(lambda: not any(p.get_subscription_count() for p in others))
        heard = len(self.stored)
        before = dict(self.compressed)
        self.until(lambda: len(self.stored) > heard + 5)
        for other in FORMS:
            if other != form:
                assert self.compressed[other] == before[other], other

    def close(self) -> None:
        self.pictures.close()
        for executor in self.executors:
            executor.shutdown()
        self.node.destroy_node()
        self.driver.destroy_node()
        for context in self.contexts:
            context.try_shutdown()


@pytest.fixture
def rig(ros_domain: int) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(transport: str = AUTO, *words: str, **options: Any) -> Rig:
        made.append(Rig(ros_domain, transport, *words, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.ros
def test_a_driver_with_all_forms_compresses_nothing(rig: Callable[..., Rig]) -> None:
    robot = rig()
    robot.offer(*FORMS, RAW)  # in the order that is worst for us
    robot.takes(RAW)
    assert robot.compressed['compressedDepth'] + robot.compressed['compressed'] == 0
    assert len(robot.stored) == len(set(robot.stored))
    assert robot.forms == [RAW]


@pytest.mark.ros
def test_the_form_follows_the_publishers_and_no_frame_is_stored_twice(
    rig: Callable[..., Rig],
) -> None:
    robot = rig()
    robot.offer('compressed')
    robot.takes('compressed')
    robot.offer('compressedDepth')
    robot.takes('compressedDepth')
    robot.offer(RAW)  # late
    robot.takes(RAW)
    robot.withdraw(RAW)  # its node ends; the republisher of the compressed form goes on
    gap_s = robot.until(lambda: robot.pictures.form == 'compressedDepth')
    assert gap_s < SETTLE_S + 2 * LOOK_S + 1.0  # and a second for a busy machine
    robot.takes('compressedDepth')
    robot.withdraw(*FORMS)  # the driver restarts
    robot.until(lambda: set(robot.pictures.subscriptions) == {'depth/image'})
    robot.offer(*FORMS, RAW)
    robot.takes(RAW)
    assert len(robot.stored) == len(set(robot.stored))
    assert robot.stored == sorted(robot.stored)
    assert robot.forms == ['compressed', 'compressedDepth', RAW, 'compressedDepth', RAW]


@pytest.mark.ros
def test_only_what_is_asked_for_is_subscribed_to(rig: Callable[..., Rig]) -> None:
    raw, compressed = rig(RAW), rig('compressed')
    for each in (raw, compressed):
        assert len(each.pictures.subscriptions) == 1
    raw.offer(*FORMS)
    spin = compressed.executors[0].spin_once
    raw.until(lambda: spin(timeout_sec=0.01) or len(compressed.stored) > 3)
    assert compressed.pictures.form == 'compressedDepth' and not raw.stored
    assert raw.compressed['compressed'] == 0
    raw.offer(RAW)
    heard = len(compressed.stored)
    raw.until(lambda: spin(timeout_sec=0.01) or len(raw.stored) > 3)
    raw.until(lambda: spin(timeout_sec=0.01) or len(compressed.stored) > heard + 3)
    assert compressed.pictures.form == 'compressedDepth'
    assert raw.pictures.form == RAW


@pytest.mark.ros
def test_compressed_forms_follow_a_remapping_of_the_raw_topic(rig: Callable[..., Rig]) -> None:
    robot = rig(AUTO, '-r', 'depth/image:=/zed/depth')
    assert robot.pictures.topics == [
        '/zed/depth',
        '/zed/depth/compressedDepth',
        '/zed/depth/compressed',
    ]
    robot.offer('compressedDepth', topic='/zed/depth')
    robot.takes('compressedDepth')
    robot.offer(RAW, topic='/zed/depth')
    robot.takes(RAW)


@pytest.mark.ros
def test_a_compressed_form_can_be_remapped_alone(rig: Callable[..., Rig]) -> None:
    robot = rig(AUTO, '-r', 'depth/image/compressed:=/radio/depth')
    assert robot.pictures.topics[2] == '/radio/depth'
    robot.publishers['compressed'] = robot.driver.create_publisher(
        CompressedImage, '/radio/depth', 5
    )
    robot.takes('compressed')


@pytest.mark.ros
def test_another_type_on_a_compressed_topic_is_ignored(rig: Callable[..., Rig]) -> None:
    robot = rig()
    robot.publishers['compressed'] = robot.driver.create_publisher(
        Image, 'depth/image/compressed', 5
    )
    robot.until(lambda: robot.node.count_publishers('/depth/image/compressed'), sending=False)
    settled_s = time.monotonic() + 2 * SETTLE_S
    robot.until(lambda: time.monotonic() > settled_s, sending=False)
    assert set(robot.pictures.subscriptions) == {'depth/image'}
    robot.withdraw('compressed')
