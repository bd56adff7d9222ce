"""Two properties of inputs: scores of infrared images by form, and number of compressed frames.

The thermal images are those of the demo bag, as original counts and in forms without
temperatures. `without_check` is the score of the same evidence without the check. The driver
publishes a camera raw and as JPEG, like image_transport: it compresses a frame only if the
compressed topic has subscribers.

    git archive COMMIT | tar -x -C /tmp/before
    python -m benchmarks.inputs --before /tmp/before
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from benchmarks.environment import write_result
from encoders import Binder, Predicate, PredicateBank, decode_image
from encoders.decode import temperature_objection
from encoders.shipped import shipped
from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import PredicateStates
from lb_ros.ros.qos import LATCHED
from train.bags.reader import read_bag

RATE_HZ, SECONDS, START_S, DISCOVERY_S = 10.0, 25.0, 180.0, 3.0
HOT = Predicate(
    'hot',
    ('the stove is hot', 'a hot stove'),
    ('the stove is cold', 'a cold stove'),
)
COLD_UNTIL_S, HOT_FROM_S = 8.2, 11.4
ROOT = Path(__file__).resolve().parents[1]


def stretched(counts: NDArray[Any], top: int, kind: Any) -> NDArray[Any]:
    """Apply automatic gain: the coldest pixel is black, the hottest white."""
    low, high = float(counts.min()), float(counts.max())
    return np.asarray((counts - low) / (high - low) * top, kind)


def equalised(counts: NDArray[Any]) -> NDArray[Any]:
    """Equalise the histogram, to 16 bits."""
    order = counts.ravel().argsort().argsort().reshape(counts.shape)
    return np.asarray(order * (65535 / order.max()), np.uint16)


FORMS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    'counts': lambda counts: counts,
    'automatic gain, 8 bits': lambda counts: stretched(counts, 255, np.uint8),
    'automatic gain, 14 bits': lambda counts: stretched(counts, 16383, np.uint16),
    'automatic gain, 16 bits': lambda counts: stretched(counts, 65535, np.uint16),
    'histogram equalised, 16 bits': equalised,
    'tenths of a kelvin': lambda counts: np.asarray(counts // 10, np.uint16),
    'degrees Celsius': lambda counts: np.asarray(counts / 100 - 273.15, np.uint16),
}


def thermal() -> dict[str, Any]:
    """Mean probability of `the stove is hot` for a cold and a hot stove, by form of the image."""
    binder = Binder.load('lb-mini')
    bank = PredicateBank([HOT], binder)
    pictures: dict[str, list[NDArray[Any]]] = {'cold': [], 'hot': []}
    begin_ns = 0
    for message in read_bag(shipped('lb_ros/data/demo_bag'), topics=['infrared/image']):
        begin_ns = begin_ns or message.log_ns
        at_s = (message.log_ns - begin_ns) * 1e-9
        array = decode_image(message.message, modality='infrared').array
        if at_s < COLD_UNTIL_S or at_s >= HOT_FROM_S:
            pictures['cold' if at_s < COLD_UNTIL_S else 'hot'].append(array)
    found: dict[str, Any] = {name: len(kept) for name, kept in pictures.items()}
    for form, make in FORMS.items():
        row: dict[str, Any] = {'calibrated': 0, 'reasons': []}
        for phase, arrays in pictures.items():
            vectors = [binder.embed(infrared=make(array)) for array in arrays]
            scores = [bank.score(each)[0] for each in vectors]
            bare = [bank.score(each, invalid={})[0].fused for each in vectors]
            row[phase] = round(float(np.mean([score.fused for score in scores])), 2)
            row[f'{phase}_without_check'] = round(float(np.mean(bare)), 2)
            row['calibrated'] += sum(score.calibrated for score in scores)
            said = {r.partition(' (')[0] for score in scores for r in score.reasons}
            row['reasons'] = sorted({*row['reasons'], *(r for r in said if 'infrared:' in r)})
        found[form] = row
    return found


def check_ms() -> dict[str, float]:
    """Median time of the check of one image, milliseconds."""
    rng = np.random.default_rng(0)
    found = {}
    for height, width in ((120, 160), (256, 320), (512, 640)):
        counts = rng.integers(29_000, 31_000, (height, width), np.uint16)
        times = []
        for _ in range(200):
            began_s = time.perf_counter()
            temperature_objection(counts)
            times.append((time.perf_counter() - began_s) * 1e3)
        found[f'{width}x{height}'] = round(median(times), 3)
    return found


def drive(tree: Path) -> dict[str, Any]:
    """Publish a camera in two forms to the bringup of a source tree; count its frames."""
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['-p', 'modalities:=[image]']
    environment = {**os.environ, 'PYTHONPATH': str(tree)}
    bringup = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tree, env=environment
    )
    rclpy.init()
    try:
        node = Node('image_transport_driver')
        _wait_until_active(node)
        found = _publish(node)
        time.sleep(1.0)
        bringup.send_signal(signal.SIGINT)
        output, _ = bringup.communicate(timeout=START_S)
        found['bringup'] = json.loads(output.splitlines()[-1])['counters']['image']
        node.destroy_node()
        return found
    finally:
        bringup.kill()
        rclpy.try_shutdown()


def _wait_until_active(node: Node) -> None:
    """Wait until a node publishes states, which it does when it becomes active."""
    states: list[PredicateStates] = []
    node.create_subscription(PredicateStates, 'predicates/state', states.append, LATCHED)
    limit_s = time.monotonic() + START_S
    while not states:
        assert time.monotonic() < limit_s, 'bringup did not become active'
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(DISCOVERY_S)


def _publish(node: Node) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    raw = Image(encoding='rgb8', height=480, width=640, step=1920)
    jpeg = CompressedImage(format='rgb8; jpeg compressed bgr8')
    publishers = (
        node.create_publisher(Image, 'camera/image', 10),
        node.create_publisher(CompressedImage, 'camera/image/compressed', 10),
    )
    sent = compressed = 0
    began_s = time.monotonic()
    while time.monotonic() - began_s < SECONDS:
        array = cv2.resize(rng.integers(0, 255, (48, 64, 3), np.uint8), (640, 480))
        raw.data = array.tobytes()
        raw.header.stamp = node.get_clock().now().to_msg()
        publishers[0].publish(raw)
        if publishers[1].get_subscription_count():
            jpeg.header = raw.header
            jpeg.data = cv2.imencode('.jpg', array)[1].tobytes()
            publishers[1].publish(jpeg)
            compressed += 1
        sent += 1
        time.sleep(max(0.0, began_s + sent / RATE_HZ - time.monotonic()))
    return {'frames': sent, 'compressed_for_us': compressed}


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--before', type=Path, help='source tree of an earlier commit')
    parser.add_argument('--turns', type=int, default=2)
    parser.add_argument('--only', choices=('thermal', 'transport'))
    args = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = '58'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if args.only != 'transport':
        result = {'thermal': thermal(), 'check_ms': check_ms()}
        print(f'{json.dumps(result, indent=2)}\nwritten to {write_result("thermal", result)}')
    if args.only == 'thermal':
        return
    use_dds_profile(sends_images=True)
    trees = {'after': ROOT} | ({'before': args.before.resolve()} if args.before else {})
    transport: dict[str, list[Any]] = {name: [] for name in trees}
    for _ in range(args.turns):
        for name, tree in trees.items():
            transport[name].append(drive(tree))
    path = write_result('transport', transport)
    print(f'{json.dumps(transport, indent=2)}\nwritten to {path}')


if __name__ == '__main__':
    main()
