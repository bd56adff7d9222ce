"""Share of camera messages that arrive in another process, with and without the shipped profile.

RGB and depth images of 1280x720 are published at 30 Hz each; publisher and subscriber are two
processes. Runs with and without the profile alternate.

    python -m benchmarks.delivery
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from benchmarks.environment import write_result
from lb_ros.dds_profile import VARIABLES, use_dds_profile
from lb_ros.ros.qos import NEWEST

WIDTH, HEIGHT, RATE_HZ = 1280, 720, 30.0
TOPICS = {'camera/image': ('rgb8', 3), 'depth/image': ('16UC1', 2)}
# An empty profile, for the defaults of Fast DDS.
PLAIN = '<?xml version="1.0" encoding="UTF-8"?><profiles/>'
SETTLE_S = 2.0
START_S = 60.0


def main() -> None:
    """Run all repeats and write the result file; with --role, run as one of the two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=15.0, help='of one run')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--role', choices=['publish'], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        publish(args.seconds)
        return
    runs: list[dict[str, Any]] = []
    for repeat in range(args.repeats):
        for profile in ('shipped', 'plain'):
            runs.append({'profile': profile, **one_run(profile, args.seconds, domain=repeat + 60)})
            print(runs[-1])
    delivered = {
        profile: {
            topic: median(r['received'][topic] / r['sent'][topic] for r in mine)
            for topic in TOPICS
        }
        for profile in ('shipped', 'plain')
        for mine in [[r for r in runs if r['profile'] == profile]]
    }
    path = write_result('delivery', {'delivered_fraction_median': delivered, 'runs': runs})
    print(f'{json.dumps(delivered, indent=2)}\nwritten to {path}')


def one_run(profile: str, seconds: float, *, domain: int) -> dict[str, Any]:
    """Numbers of sent and received messages, by topic."""
    command = [sys.executable, '-m', 'benchmarks.delivery', '--seconds', str(seconds)]
    done = subprocess.run(
        [sys.executable, '-c', 'from benchmarks.delivery import receive; receive()', *command],
        env=_environment(profile, domain),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))  # the middleware may print first


def _environment(profile: str, domain: int) -> dict[str, str]:
    plain = Path('build') / 'plain_profile.xml'
    plain.parent.mkdir(exist_ok=True)
    plain.write_text(PLAIN)
    changed = {'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    if profile == 'plain':
        changed |= dict.fromkeys(VARIABLES, str(plain.resolve()))
    return {**os.environ, **changed}


def receive() -> None:
    """Run as the subscriber: start the publisher, count, print the counts as JSON."""
    use_dds_profile()
    rclpy.init()
    node = rclpy.create_node('receiver')
    received = dict.fromkeys(TOPICS, 0)

    def counter(topic: str) -> Any:
        def count(message: Image) -> None:
            received[topic] += 1

        return count

    for topic in TOPICS:
        node.create_subscription(Image, topic, counter(topic), NEWEST)
    publisher = subprocess.Popen(
        [*sys.argv[1:], '--role', 'publish'], stdout=subprocess.PIPE, text=True
    )
    end_s = None
    while end_s is None or time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.05)
        if end_s is None and publisher.poll() is not None:
            end_s = time.monotonic() + SETTLE_S
    output, _ = publisher.communicate()
    node.destroy_node()
    rclpy.shutdown()
    print(json.dumps({'received': received, **json.loads(output.splitlines()[-1])}))


def publish(seconds: float) -> None:
    """Run as the publisher: wait for the subscriber, send at 30 Hz, print the counts as JSON."""
    use_dds_profile(sends_images=True)
    rclpy.init()
    node = rclpy.create_node('cameras')
    publishers, messages = {}, {}
    for topic, (encoding, channels) in TOPICS.items():
        publishers[topic] = node.create_publisher(Image, topic, qos_profile_sensor_data)
        data = os.urandom(WIDTH * HEIGHT * channels)
        step = WIDTH * channels
        messages[topic] = Image(
            encoding=encoding, width=WIDTH, height=HEIGHT, step=step, data=data
        )
    limit_s = time.monotonic() + START_S
    while any(p.get_subscription_count() == 0 for p in publishers.values()):
        if time.monotonic() > limit_s:
            raise TimeoutError(f'no subscriber within {START_S} s')
        time.sleep(0.05)
    time.sleep(SETTLE_S)
    sent, start_s = 0, time.monotonic()
    while (due_s := start_s + sent / RATE_HZ) < start_s + seconds:
        time.sleep(max(0.0, due_s - time.monotonic()))
        for topic, publisher in publishers.items():
            messages[topic].header.stamp = node.get_clock().now().to_msg()
            publisher.publish(messages[topic])
        sent += 1
    rate_hz = sent / (time.monotonic() - start_s)
    time.sleep(SETTLE_S)
    node.destroy_node()
    rclpy.shutdown()
    print(json.dumps({'sent': dict.fromkeys(TOPICS, sent), 'rate_hz': round(rate_hz, 2)}))


if __name__ == '__main__':
    main()
