"""Play a bag over DDS as a robot would publish it: same bytes, same pace, present time."""

from __future__ import annotations

import argparse
import importlib
import json
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy

from lb_ros.dds_profile import use_dds_profile

START_DELAY_S = 1.0
QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
CDR_HEADER = 4


def restamp(raw: bytes, offset_ns: int) -> bytes:
    """Shift the header stamp of a serialised message whose first field is a std_msgs/Header.

    The stamp is the first field of the header: int32 seconds and uint32 nanoseconds, after the
    four bytes that say how the message is encoded (OMG CDR; byte 1 is 1 for little endian).
    """
    order = '<' if raw[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, CDR_HEADER)
    moved = divmod(seconds * 1_000_000_000 + nanoseconds + offset_ns, 1_000_000_000)
    return raw[:CDR_HEADER] + struct.pack(f'{order}iI', *moved) + raw[CDR_HEADER + 8 :]


def message_class(type_name: str) -> Any | None:
    """The class of a type such as `sensor_msgs/msg/Image`; None where it is not installed."""
    package, _, name = type_name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ModuleNotFoundError, AttributeError):
        return None


def play(bag: Path, *, wait_s: float) -> dict[str, Any]:
    """Play a bag once; returns what was published and what could not be.

    Args:
        bag: Bag folder or file.
        wait_s: How long to wait for a subscriber of every sensor topic before starting anyway.
    """
    from train.bags import BagReport, read_bag

    node = Node('bag_player')
    report = BagReport(bag)
    publishers = _publishers(node, bag, report)
    missing = _wait_for_subscribers(publishers, wait_s)
    problems = [f'nobody listens to {topic}' for topic in missing]
    published: Counter[str] = Counter()
    clock = node.get_clock()
    first_log_ns, start_s, start_ns = None, 0.0, 0
    for message in read_bag(bag, report=BagReport(bag)):
        entry = publishers.get(message.topic)
        if entry is None:
            continue
        if first_log_ns is None:
            first_log_ns = message.log_ns
            start_s = time.monotonic() + START_DELAY_S
            start_ns = clock.now().nanoseconds + round(START_DELAY_S * 1e9)
        due_s = start_s + (message.log_ns - first_log_ns) * 1e-9
        time.sleep(max(0.0, due_s - time.monotonic()))
        publisher, stamped = entry
        raw = restamp(message.raw, start_ns - first_log_ns) if stamped else message.raw
        publisher.publish(raw)
        published[message.topic] += 1
    node.destroy_node()
    return {'published': dict(published), 'problems': [*report.problems, *problems]}


def _publishers(node: Node, bag: Path, report: Any) -> dict[str, tuple[Publisher, bool]]:
    from train.bags import read_bag

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


def _wait_for_subscribers(
    publishers: dict[str, tuple[Publisher, bool]], wait_s: float
) -> list[str]:
    # Nobody has to listen to these.
    optional = ('camera/camera_info', 'task/text')
    limit_s = time.monotonic() + wait_s
    while True:
        missing = [
            topic
            for topic, (publisher, _) in publishers.items()
            if topic not in optional and publisher.get_subscription_count() == 0
        ]
        if not missing or time.monotonic() > limit_s:
            return missing
        time.sleep(0.05)


def main() -> int:
    """Entry of the player process; prints a JSON report as its last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag', type=Path)
    parser.add_argument('--wait', type=float, default=180.0, help='seconds to await subscribers')
    args = parser.parse_args()
    use_dds_profile()
    rclpy.init()
    try:
        print(json.dumps(play(args.bag, wait_s=args.wait)))
    except (OSError, ValueError) as error:
        print(f'bag player: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
