"""Sensors of a benchmark, in a separate process: `python -m lb_ros.bench.sender`."""

from __future__ import annotations

import argparse
import time

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from lb_ros.dds_profile import use_dds_profile
from lb_ros.msg import AudioChunk
from lb_ros.ros.stamps import to_stamp

AUDIO_RATE_HZ = 16_000
DISCOVERY_S = 30.0
TOPICS = ('camera/image', 'depth/image', 'infrared/image', 'microphone/audio')


def main() -> None:
    """Publish the given topics at one rate for the given time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('topics', nargs='+', choices=TOPICS)
    parser.add_argument('--rate-hz', type=float, required=True)
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480), metavar=('W', 'H'))
    args = parser.parse_args()
    width, height = args.size
    use_dds_profile(sends_images=True)
    rclpy.init()
    node = rclpy.create_node('bench_sender')
    frames = {topic: _frame(topic, width, height, args.rate_hz) for topic in args.topics}
    publishers = {
        topic: node.create_publisher(type(frame), topic, qos_profile_sensor_data)
        for topic, frame in frames.items()
    }
    # Wait for discovery, because messages sent earlier are lost and would not be measured.
    give_up_s = time.monotonic() + DISCOVERY_S
    while any(not publisher.get_subscription_count() for publisher in publishers.values()):
        if time.monotonic() > give_up_s:
            topics = ', '.join(args.topics)
            raise SystemExit(f'nobody subscribed to {topics} in {DISCOVERY_S:.0f} s')
        time.sleep(0.02)
    start_s = time.monotonic()
    for count in range(round(args.seconds * args.rate_hz)):
        time.sleep(max(start_s + count / args.rate_hz - time.monotonic(), 0.0))
        for topic, frame in frames.items():
            # A chunk of audio is stamped with its first sample and sent after its last one.
            age_ns = round(1e9 / args.rate_hz) if topic == 'microphone/audio' else 0
            frame.header.stamp = to_stamp(node.get_clock().now().nanoseconds - age_ns)
            publishers[topic].publish(frame)
    node.destroy_node()
    rclpy.shutdown()


def _frame(topic: str, width: int, height: int, rate_hz: float) -> Image | AudioChunk:
    random = np.random.default_rng(0)
    if topic == 'microphone/audio':
        samples = random.integers(-999, 999, round(AUDIO_RATE_HZ / rate_hz), np.int16)
        return AudioChunk(sample_rate_hz=AUDIO_RATE_HZ, channels=1, samples=samples)
    if topic == 'camera/image':
        encoding, pixels = 'rgb8', random.integers(0, 255, (height, width, 3), np.uint8)
    elif topic == 'depth/image':
        encoding, pixels = '16UC1', random.integers(400, 3000, (height, width), np.uint16)
    else:
        encoding, pixels = 'mono16', random.integers(29_000, 31_000, (120, 160), np.uint16)
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return Image(encoding=encoding, height=height, width=width, step=step, data=pixels.tobytes())


if __name__ == '__main__':
    main()
