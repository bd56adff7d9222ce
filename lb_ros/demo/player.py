"""Plays a bag over DDS as a robot would publish it: same bytes, same pace, present time."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from lb_ros.dds_profile import use_dds_profile
from lb_ros.ros_arguments import RosArguments, typed_arguments
from lb_ros.stopping import drop_output, end_with_reader

START_DELAY_S = 1.0
CLOCK_PERIOD_S = 0.02
POLL_S = 0.05
QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
CDR_HEADER = 4
COMPRESSED_FORMS = ('compressed', 'compressedDepth')
# Beginnings of topics that no node subscribes to.
UNHEARD = ('camera/camera_info', 'task/text', 'ground_truth/')


def restamp(raw: bytes, offset_ns: int) -> bytes:
    """Shift the header stamp of a serialised message whose first field is a std_msgs/Header.

    The stamp is the first field of the header: int32 seconds and uint32 nanoseconds, after the
    four bytes of the encapsulation header (OMG CDR; byte 1 is 1 for little endian).
    """
    order = '<' if raw[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, CDR_HEADER)
    moved = divmod(seconds * 1_000_000_000 + nanoseconds + offset_ns, 1_000_000_000)
    return raw[:CDR_HEADER] + struct.pack(f'{order}iI', *moved) + raw[CDR_HEADER + 8 :]


def raw_stamp_ns(raw: bytes) -> int:
    """Return the header stamp of such a message, nanoseconds."""
    order = '<' if raw[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, CDR_HEADER)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def message_class(type_name: str) -> Any | None:
    """Return the class of a type such as `sensor_msgs/msg/Image`; None if it is not installed."""
    package, _, name = type_name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ModuleNotFoundError, AttributeError):
        return None


@dataclass
class _Pace:
    """Schedules the messages of a bag at a rate, in present time or in the time of the bag.

    `clock` publishes the time of the bag on `/clock`; None to shift messages to the present time.
    """

    node: Node
    rate: float
    clock: Publisher | None
    first_log_ns: int | None = None
    start_s: float = 0.0
    start_ns: int = 0

    def wait(self, log_ns: int) -> int:
        """Wait until a message is due; return the shift of its stamp, nanoseconds."""
        if self.first_log_ns is None:
            self.first_log_ns = log_ns
            self.start_s = time.monotonic() + START_DELAY_S
            now_ns = self.node.get_clock().now().nanoseconds
            self.start_ns = now_ns + round(START_DELAY_S * 1e9)
        due_s = self.start_s + (log_ns - self.first_log_ns) * 1e-9 / self.rate
        while (left_s := due_s - time.monotonic()) > 0:
            self._tick(log_ns - round(left_s * self.rate * 1e9))
            time.sleep(min(left_s, CLOCK_PERIOD_S))
        self._tick(log_ns)
        return 0 if self.clock is not None else self.start_ns - self.first_log_ns

    def _tick(self, bag_ns: int) -> None:
        if self.clock is not None:
            seconds, nanoseconds = divmod(bag_ns, 1_000_000_000)
            self.clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def play(
    bag: Path,
    *,
    wait_s: float,
    after: Sequence[str] = (),
    optional: Sequence[str] = (),
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = False,
) -> dict[str, Any]:
    """Play a bag; return the number of messages published by topic, and problems.

    Args:
        bag: Bag folder or file.
        wait_s: How long to wait for a subscriber of every sensor topic, and for `after`, before
            starting anyway.
        after: Lifecycle nodes that must be active; they subscribe earlier but ignore messages.
        optional: Topics that need no subscriber.
        rate: Speed; 2 for twice as fast.
        loop: Start again at the end, until interrupted.
        clock: Publish the time of the bag on `/clock` and keep stamps; otherwise stamps are
            shifted to the present.

    Raises:
        ValueError: The rate is not positive.
    """
    from train.bags.reader import BagReport, read_bag

    if not 0 < rate < math.inf:
        raise ValueError(f'the rate must be positive, not {rate}')
    node = Node('bag_player')
    report = BagReport(bag)
    publishers = _publishers(node, bag, report)
    ticks = node.create_publisher(Clock, '/clock', 10) if clock else None
    limit_s = time.monotonic() + wait_s
    problems = [
        f'{name} is not active after {wait_s:g} s'
        for name in after
        if not _is_active(node, name, limit_s)
    ]
    missing = _wait_for_subscribers(publishers, limit_s, optional=(*UNHEARD, *optional))
    problems += [f'nobody listens to {topic}' for topic in missing]
    published: Counter[str] = Counter()
    while True:
        pace = _Pace(node, rate, ticks)
        for message in read_bag(bag, report=BagReport(bag)):
            entry = publishers.get(message.topic)
            if entry is None:
                continue
            shift_ns = pace.wait(message.log_ns)
            publisher, stamped = entry
            if stamped and message.is_aligned:  # its sensor has a different clock
                shift_ns += message.stamp_ns - raw_stamp_ns(message.raw)
            moves = stamped and shift_ns
            publisher.publish(restamp(message.raw, shift_ns) if moves else message.raw)
            published[message.topic] += 1
        if not loop or not published:
            break
    node.destroy_node()
    return {'published': dict(published), 'problems': [*report.problems, *problems]}


def _publishers(node: Node, bag: Path, report: Any) -> dict[str, tuple[Publisher, bool]]:
    from train.bags.reader import read_bag

    found: dict[str, tuple[Publisher, bool]] = {}
    unknown: set[str] = set()
    for message in read_bag(bag, report=report):
        if message.topic in found or message.topic in unknown:
            continue
        kind = message_class(message.type_name)
        if kind is None:
            unknown.add(message.topic)
            report.problem(
                f'{bag}: topic {message.topic}: type {message.type_name} is not installed; skipped'
            )
            continue
        publisher = node.create_publisher(kind, message.topic, QOS)
        stamped = next(iter(kind.get_fields_and_field_types().values())) == 'std_msgs/Header'
        found[message.topic] = (publisher, stamped)
    return found


def _is_active(node: Node, name: str, limit_s: float) -> bool:
    """Wait until a node is active; return False if it is not by `limit_s` (monotonic)."""
    client = node.create_client(GetState, f'{name}/get_state')
    try:
        while (left_s := limit_s - time.monotonic()) > 0:
            if not client.wait_for_service(min(left_s, 1.0)):
                continue
            asked = client.call_async(GetState.Request())
            rclpy.spin_until_future_complete(node, asked, timeout_sec=min(left_s, 1.0))
            if asked.done() and asked.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                return True
            time.sleep(POLL_S)
        return False
    finally:
        node.destroy_client(client)


def _wait_for_subscribers(
    publishers: dict[str, tuple[Publisher, bool]], limit_s: float, *, optional: tuple[str, ...]
) -> list[str]:
    while True:
        missing = [
            topic
            for topic, (publisher, _) in publishers.items()
            if not topic.startswith(optional)
            and publisher.get_subscription_count() == 0
            and not is_heard_in_another_form(topic, publishers)
        ]
        if not missing or time.monotonic() > limit_s:
            return missing
        time.sleep(POLL_S)


def is_heard_in_another_form(topic: str, publishers: dict[str, tuple[Publisher, bool]]) -> bool:
    """Whether another form of the same images has a subscriber; one form is enough."""
    base, _, form = topic.rpartition('/')
    raw = base if form in COMPRESSED_FORMS else topic
    return any(
        publishers[other][0].get_subscription_count()
        for other in (raw, *(f'{raw}/{each}' for each in COMPRESSED_FORMS))
        if other != topic and other in publishers
    )


def run(args: argparse.Namespace, ros: RosArguments) -> int:
    """Play the bag given on the command line; see `lb_ros.demo.bag_player.main`.

    Raises:
        KeyboardInterrupt: The process was stopped.
    """
    use_dds_profile(sends_images=True)
    with typed_arguments(ros) as words:
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    try:
        end_with_reader()
        played = play(
            args.bag,
            wait_s=args.wait,
            after=args.after,
            optional=args.optional,
            rate=args.rate,
            loop=args.loop,
            clock=args.clock,
        )
        print(json.dumps(played), flush=True)
    except BrokenPipeError:
        drop_output()
        return 130
    except (OSError, ValueError) as error:
        print(f'bag player: {error}', file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0
