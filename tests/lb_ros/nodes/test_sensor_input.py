"""A node's input against publishers of every kind of service, type and liveliness."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import Image
from std_msgs.msg import String

from lb_ros.nodes.encoder_node import EncoderNode
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.ros.parameters import Settings, limits_of
from lb_ros.ros.stamps import to_stamp
from tests.lb_ros.sinks import QueueSink
from tests.waiting import wait_until

pytestmark = pytest.mark.ros
LIMIT_S = 30.0


class Bench:
    """A depth encoder and a robot in one process, on a domain of their own."""

    def __init__(self, folder: Path, context: Context, *extra: str) -> None:
        self.told: list[str] = []
        self.late_ns = 0
        given = (f'model:={folder}', *extra)
        words = [word for setting in given for word in ('-p', setting)]
        self.encoder = EncoderNode('depth', context=context, cli_args=['--ros-args', *words])
        settings = Settings(self.encoder)
        model = SharedModel(
            lambda: settings.values, QueueSink(), modalities=('depth',), log=self.told.append
        )
        self.encoder.connect(model, settings, inputs=['depth/image'])
        self.encoder.trigger_configure()
        self.encoder.trigger_activate()
        self.worker, self.model = model.worker_for('depth_encoder'), model
        settings.on_change = lambda values: self.worker.limit(limits_of(values))
        # A context of its own: a participant cannot have one topic with two types, and does not
        # watch its own liveliness.
        self.outside = Context()
        self.outside.init(domain_id=context.get_domain_id())
        self.robot = Node('robot', context=self.outside)
        self.executors = [
            SingleThreadedExecutor(context=context),
            SingleThreadedExecutor(context=self.outside),
        ]
        self.executors[0].add_node(self.encoder)
        self.executors[1].add_node(self.robot)

    def send(self, publisher: Any) -> None:
        pixels = np.random.default_rng().integers(500, 900, (8, 8), np.uint16)
        image = Image(encoding='16UC1', width=8, height=8, step=16, data=pixels.tobytes())
        stamp_ns = self.robot.get_clock().now().nanoseconds - self.late_ns
        image.header.stamp = to_stamp(stamp_ns)
        publisher.publish(image)

    def until(self, holds: Callable[[], Any], publisher: Any = None) -> None:
        def meanwhile() -> None:
            if publisher is not None:
                self.send(publisher)
            for executor in self.executors:
                executor.spin_once(timeout_sec=0.01)

        wait_until(
            holds,
            limit_s=LIMIT_S,
            meanwhile=meanwhile,
            shows=lambda: (self.told, self.worker.counters()),
        )

    @property
    def encoded(self) -> int:
        return self.worker.counters()['depth'].encoded

    def close(self) -> None:
        self.model.close()
        for executor in self.executors:
            executor.shutdown()
        self.encoder.destroy_node()
        self.robot.destroy_node()
        self.outside.try_shutdown()


@pytest.fixture
def bench(tiny_model_set: Path, ros_domain: int) -> Iterator[Callable[..., Bench]]:
    context = Context()
    context.init(domain_id=ros_domain)
    made: list[Bench] = []

    def make(*settings: str) -> Bench:
        made.append(Bench(tiny_model_set, context, *settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
    context.try_shutdown()


def test_every_publisher_is_heard(bench: Callable[..., Bench]) -> None:
    rig = bench()
    for reliability, durability in itertools.product(
        (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT),
        (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL),
    ):
        qos = QoSProfile(depth=3, reliability=reliability, durability=durability)
        publisher = rig.robot.create_publisher(Image, 'depth/image', qos)
        before = rig.encoded
        rig.until(lambda before=before: rig.encoded > before, publisher)
        rig.robot.destroy_publisher(publisher)
    assert not [line for line in rig.told if 'quality' in line]


def test_a_mismatch_that_an_override_makes_is_named(bench: Callable[..., Bench]) -> None:
    # On a busy machine it would be silent before anybody asks.
    setting = 'qos_overrides./depth/image.subscription.reliability:=reliable'
    rig = bench(setting, 'silent_after_s:=60.0')
    rig.robot.create_publisher(
        Image, 'depth/image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    rig.until(lambda: rig.worker.health('depth').faults.get('qos'))
    (line,) = [each for each in rig.told if 'quality of service' in each]
    for part in ('/robot offers', 'RELIABILITY', '/depth/image', 'qos_overrides./depth/image'):
        assert part in line
    status = rig.encoder.statuses()[0]
    assert 'quality of service' in status.message


def test_a_publisher_of_another_type_is_named(bench: Callable[..., Bench]) -> None:
    rig = bench('silent_after_s:=0.2')
    rig.until(lambda: any('silent' in line and 'no publisher' in line for line in rig.told))
    rig.robot.create_publisher(String, 'depth/image', 1)
    rig.until(lambda: 'std_msgs/msg/String, expected' in rig.encoder.statuses()[0].message)
    assert 'sensor_msgs/msg/Image' in rig.encoder.statuses()[0].message


@pytest.mark.parametrize(
    ('setting', 'says'),
    [
        ('rate_tolerance:=true', 'parameter rate_tolerance'),
        ('depth_mono16:=7', 'parameter depth_mono16'),
        ('transport:=theora', "transport: must be one of auto, raw, compressed, not 'theora'"),
    ],
)
def test_a_wrong_parameter_is_named(bench: Callable[..., Bench], setting: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bench(setting)


def test_a_rate_that_is_not_as_expected_is_shown(bench: Callable[..., Bench]) -> None:
    rig = bench('expected_rate_hz:=1000.0')
    publisher = rig.robot.create_publisher(Image, 'depth/image', 1)
    rig.until(lambda: rig.encoded > 5, publisher)
    assert 'Hz, expected 1000.0 Hz' in rig.encoder.statuses()[0].message


def test_another_max_age_ms_is_asked_of_the_next_message(bench: Callable[..., Bench]) -> None:
    rig = bench('max_age_ms:=60000.0', 'max_rate_hz:=0.0')
    publisher = rig.robot.create_publisher(Image, 'depth/image', 1)
    rig.late_ns = 500_000_000
    rig.until(lambda: rig.encoded, publisher)
    changed = rig.encoder.set_parameters([Parameter('max_age_ms', value=200.0)])
    assert changed[0].successful
    before = rig.encoded
    rig.until(lambda: rig.worker.counters()['depth'].stale >= 3, publisher)
    assert rig.encoded <= before + 1  # one may have been at work
    assert any('more than max_age_ms 200' in line for line in rig.told)
