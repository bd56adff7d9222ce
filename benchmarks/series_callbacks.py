"""Processor time that the callbacks of series take, per message and for usual rates.

An encoder node of each series polls its topic, on which another participant publishes ten messages
at a time: as many as arrive within a poll at 500 Hz. Counted is the time of the thread that takes,
checks and stores them, as of the executor of a node. Nothing is encoded.

    python -m benchmarks.series_callbacks --model runs/contact/lb-contact
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from benchmarks.eight_sensors import MESSAGES, RATES_HZ, TOPICS, change, stamp_ns
from benchmarks.environment import write_result
from lb_ros.nodes.encoder_node import EncoderNode
from lb_ros.nodes.sensor_input import SensorInput
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.ros.input_parameters import declare_input_parameters
from lb_ros.ros.parameters import Settings
from lb_ros.ros.polled import take_all
from lb_ros.ros.qos import SERIES
from lb_ros.ros.stamps import to_stamp

BATCH, BATCHES = 10, 100
LIMIT_S = 60.0


class Nothing:
    """A sink that wants no embeddings."""

    def wants(self, modality: str) -> bool:
        """Return False."""
        return False

    wants_tokens = wants

    def receive(self, batch: Any) -> None:
        """Never called."""


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', required=True, help='set with wrench, joints and imu')
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '73'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    rclpy.init()
    found = {name: measure(name, args.model) for name in RATES_HZ}
    share = sum(found[name]['callback_us'] * 1e-6 * rate for name, rate in RATES_HZ.items())
    result = {
        'messages': BATCH * BATCHES,
        'rates_hz': RATES_HZ,
        'share_of_a_core': round(share, 4),
        **found,
    }
    path = write_result('series_callbacks', result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')
    rclpy.shutdown()


def measure(modality: str, model: str) -> dict[str, float]:
    """Return the processor time per message of one series, microseconds."""
    words = ['--ros-args', '-p', f'model:={model}']
    node = EncoderNode(modality, cli_args=words)
    settings = Settings(node)
    shared = SharedModel(
        lambda: settings.values, Nothing(), modalities=(modality,), log=node.get_logger().warning
    )
    shared.acquire(node.get_name())
    outside = Context()
    outside.init(domain_id=int(os.environ['ROS_DOMAIN_ID']))
    robot = Node('robot', context=outside)
    message = MESSAGES[modality]()
    publisher = robot.create_publisher(type(message), TOPICS[modality], SERIES)
    entry = SensorInput(
        node,
        modality,
        topic=TOPICS[modality],
        parameters=declare_input_parameters(node, modality),
    )
    entry.attach(shared.worker_for(node.get_name()))
    entry.is_open = True
    subscription = entry.subscriptions[TOPICS[modality]]
    until(lambda: publisher.get_subscription_count() > 0)
    spent_s, rng = [], np.random.default_rng(0)
    for _ in range(BATCHES):
        for _ in range(BATCH):
            change(modality, message, rng)
            message.header.stamp = to_stamp(stamp_ns(robot))
            publisher.publish(message)
        left, batch_s = BATCH, 0.0
        end_s = time.monotonic() + LIMIT_S
        while left > 0:
            if time.monotonic() > end_s:
                raise TimeoutError(f'{left} of {BATCH} messages of {modality} did not arrive')
            started_s = time.thread_time()
            taken = take_all(subscription)
            if taken:
                entry.store_all(taken)
                batch_s += time.thread_time() - started_s
                left -= len(taken)
        spent_s.append(batch_s / BATCH)
    shared.close()
    node.destroy_node()
    robot.destroy_node()
    outside.try_shutdown()
    return {
        'callback_us': round(float(np.mean(spent_s)) * 1e6, 1),
        'callback_us_median': round(float(np.median(spent_s)) * 1e6, 1),
    }


def until(holds: Any) -> None:
    """Wait until something holds, for a limited time."""
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(f'not within {LIMIT_S:.0f} s')
        time.sleep(0.02)


if __name__ == '__main__':
    main()
