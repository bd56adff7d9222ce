"""One run of `benchmarks.client_latency`: nodes, four sensors and a client of one installation.

It imports nothing from this checkout, so that the Python of another one can run it. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As a program, so that benchmarks do not shadow modules.
if str(Path(__file__).resolve().parent) in sys.path:
    sys.path.remove(str(Path(__file__).resolve().parent))

RATE_HZ = 10.0
START_S = 120.0
WARM_S = 2.0


def sensors() -> None:
    """Publish camera, depth, infrared and microphone at `RATE_HZ` until interrupted."""
    import numpy as np
    import rclpy
    from rclpy.duration import Duration
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image

    from lb_ros.dds_profile import use_dds_profile
    from lb_ros.msg import AudioChunk

    rng = np.random.default_rng(0)
    arrays = {
        'camera/image': ('rgb8', rng.integers(0, 255, (480, 640, 3), np.uint8)),
        'depth/image': ('16UC1', rng.integers(500, 2000, (480, 640), np.uint16)),
        'infrared/image': ('mono16', rng.integers(29_000, 31_000, (120, 160), np.uint16)),
    }
    stopped: list[int] = []
    use_dds_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    node = Node('sensors')
    publishers = {t: node.create_publisher(Image, t, qos_profile_sensor_data) for t in arrays}
    microphone = node.create_publisher(AudioChunk, 'microphone/audio', qos_profile_sensor_data)
    images = {
        topic: Image(
            encoding=encoding,
            height=array.shape[0],
            width=array.shape[1],
            step=array.nbytes // array.shape[0],
            data=array.tobytes(),
        )
        for topic, (encoding, array) in arrays.items()
    }
    sound = AudioChunk(sample_rate_hz=16_000, channels=1)
    sound.samples = rng.integers(-999, 999, 1600).astype(np.int16)

    chunk = Duration(seconds=len(sound.samples) / sound.sample_rate_hz)

    def see() -> None:
        now = node.get_clock().now()
        stamp = now.to_msg()
        for topic, message in images.items():
            message.header.stamp = stamp
            publishers[topic].publish(message)
        sound.header.stamp = (now - chunk).to_msg()  # of its first sample
        microphone.publish(sound)

    while not stopped:
        see()
        time.sleep(1 / RATE_HZ)
    rclpy.try_shutdown()


def cpu_s(pid: int) -> float:
    """CPU time used by a process."""
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def timed_ms(call: Callable[[], Any], count: int, seed: int) -> list[float]:
    """Durations of `count` calls at random intervals."""
    pauses = random.Random(seed)
    found = []
    for _ in range(count):
        time.sleep(pauses.uniform(0.03, 0.13))
        began_s = time.perf_counter()
        call()
        found.append((time.perf_counter() - began_s) * 1e3)
    return found


def measure(nodes: subprocess.Popen[str], turns: int) -> dict[str, Any]:
    """Latencies of queries and of waits for a state that already holds, and the nodes' load."""
    from encoders import Predicate, State
    from lb_ros.client import LanguageClient

    # A predicate of all sensors whose thresholds are never reached, so that it stays UNKNOWN.
    asked = Predicate.from_sentence('the drawer is open', name='there')
    never = Predicate('there', asked.positive, asked.negative, threshold_on=0.9999,
                      threshold_off=0.0001)  # fmt: skip
    with LanguageClient(timeout_s=START_S) as client:
        client.set([never])
        client.query('the drawer is open')
        limit_s = time.monotonic() + START_S
        while None in (ages := client.query('the drawer is open')[0].ages_ms).values():
            if time.monotonic() > limit_s:
                raise TimeoutError(f'no evidence of all sensors: {ages}')
            time.sleep(0.1)
        client.wait_until('there', state=State.UNKNOWN)
        time.sleep(WARM_S)
        began_s, used_s = time.monotonic(), cpu_s(nodes.pid)
        queries = timed_ms(lambda: client.query('the drawer is open'), turns, seed=0)
        waits = timed_ms(lambda: client.wait_until('there', state=State.UNKNOWN), turns, seed=1)
        took_s = time.monotonic() - began_s
        share = (cpu_s(nodes.pid) - used_s) / took_s
    return {'query_ms': queries, 'wait_ms': waits, 'nodes_cpu_percent': round(share * 100, 1)}


def main() -> None:
    """Start nodes and sensors, measure, and stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sensors', action='store_true')
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--turns', type=int, default=60)
    args = parser.parse_args()
    if args.sensors:
        sensors()
        return
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['-p', f'model:={args.model}']
    nodes = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    seen = subprocess.Popen([sys.executable, __file__, '--sensors'], text=True)
    try:
        print(json.dumps(measure(nodes, args.turns)))
    finally:
        for process in (seen, nodes):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == '__main__':
    main()
