"""One `bringup` with eight sensors on two cores: load of its callbacks, and time to the score.

Camera, depth, infrared, touch and chunks of audio come at 30 Hz, wrench and joints at 500 Hz, and
the inertial unit at 200 Hz. The thread that runs all callbacks is the main thread of the process;
its processor time divided by the wall time is the share of a core that callbacks take. The latency
of a sensor is the time from the stamp of its newest evidence to the first evaluation that uses it.
Encoders that the model set lacks are added with random weights, which take as long.

    python -m benchmarks.eight_sensors --model lb-mini
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import Vector3, WrenchStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Header

from benchmarks.environment import write_result
from benchmarks.latency import START_S, WARM_UP_S, Robot
from encoders import MODALITIES, SENSED
from encoders.model_sets.files import ModelSet, save_model_set
from encoders.model_sets.join import join
from encoders.model_sets.manifest import Manifest, ModalitySpec, read_manifest
from encoders.model_sets.places import find_set
from encoders.preprocess import is_series, mini_config
from encoders.vision.vit import VisionTower, tie
from lb_ros.dds_profile import use_dds_profile
from lb_ros.ros.stamps import to_stamp

RATE_HZ = 30.0
RATES_HZ = {'wrench': 500.0, 'joints': 500.0, 'imu': 200.0}
FELT = tuple(
    name for name in SENSED if MODALITIES[name].kind == 'series' and MODALITIES[name].topics
)
SENSORS = ('image', 'depth', 'infrared', 'audio', 'touch', *FELT)
TOPICS = {name: MODALITIES[name].topic for name in RATES_HZ}
JOINTS = [*(f'panda_joint{number}' for number in range(1, 8)), 'panda_finger_joint1']
MESSAGES: dict[str, Callable[[], Any]] = {
    'wrench': lambda: WrenchStamped(header=Header(frame_id='tool0')),
    'joints': lambda: JointState(name=JOINTS),
    'imu': lambda: Imu(header=Header(frame_id='imu_link')),
}
CORES = (0, 1)
TARGETS = {'callbacks_share_of_a_core': 0.25, 'latency_p95_ms': 150.0}
PREDICATES = """predicates:
  gripper is open:
    positive: [the gripper is open]
    negative: [the gripper is closed]
  something slips:
    positive: [the cup slips]
    negative: [the cup is held]
"""


def main() -> None:
    """Run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='lb-mini')
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument(
        '--set', nargs='*', default=[], metavar='NAME:=VALUE', help='parameters of bringup'
    )
    parser.add_argument('--send', action='store_true', help='publish the series only')
    args = parser.parse_args()
    if args.send:
        send(args.seconds)
        return
    os.environ['ROS_DOMAIN_ID'] = '72'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.sched_setaffinity(0, CORES)  # of this process and those that it starts
    with tempfile.TemporaryDirectory() as folder:
        model, random = with_all(args.model, Path(folder))
        predicates = Path(folder) / 'predicates.yaml'
        predicates.write_text(PREDICATES)
        parameters = (
            f'model:={model}',
            f'predicates:={predicates}',
            f'modalities:=[{", ".join(SENSORS)}]',
            *args.set,
        )
        measured = measure(parameters, args.seconds)
    name = read_manifest(find_set(args.model)).manifest.name
    result = {
        'model': name,
        'parameters': args.set,
        'random_encoders': random,
        'targets': TARGETS,
        **measured,
    }
    path = write_result('eight_sensors', result)
    print(f'{json.dumps(result, indent=2)}\nwritten to {path}')


def with_all(model: str, folder: Path) -> tuple[Path, list[str]]:
    """Return a set with encoders of all modalities, and which of them have random weights."""
    source = find_set(model)
    manifest = read_manifest(source).manifest
    missing = [name for name in SENSORS if name not in manifest.modalities]
    if not missing:
        return source, []
    like = manifest.modalities['depth'].vision
    specs = {}
    for name in missing:
        config = mini_config(name, {})
        felt: dict[str, Any] = {}
        if is_series(config):
            channels = len(config.channels)
            felt = {'stem': 'series', 'channels': channels, 'patch_size': config.patch}
        shape = replace(like, image_size=config.input_size, **felt)
        specs[name] = ModalitySpec(shape, config)
    torch.manual_seed(0)
    towers = {name: VisionTower(spec.vision) for name, spec in specs.items()}
    tie(towers)
    made = Manifest('random', manifest.space, manifest.text, specs, manifest.licence)
    save_model_set(folder / 'random', ModelSet(made, towers))
    join([source, folder / 'random'], folder / 'all', name='all')
    return folder / 'all', missing


def measure(parameters: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Run the nodes and the sensors; return what was measured after the warm-up."""
    words = [word for each in parameters for word in ('-p', each)]
    nodes = subprocess.Popen(
        [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args', *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    feelings = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.eight_sensors', '--send', '--seconds', '1e9']
    )
    try:
        found = watch(nodes, seconds)
        nodes.send_signal(signal.SIGINT)
        output, _ = nodes.communicate(timeout=START_S)
    finally:
        nodes.kill()
        feelings.kill()
    return {**found, 'counters': json.loads(output.splitlines()[-1])['counters']}


def watch(nodes: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Publish images and audio, and collect latencies and the load of the callbacks."""
    use_dds_profile(sends_images=True)
    rclpy.init()
    pixels = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    gel = Image(encoding='rgb8', height=240, width=320, step=960, data=pixels.tobytes())
    robot = Robot(rate_hz=RATE_HZ, more={'touch/image': gel}, felt=('touch', *FELT))
    limit_s = time.monotonic() + START_S
    while set(robot.latencies_ms) != set(SENSORS):
        if time.monotonic() > limit_s:
            raise TimeoutError(f'scores of {sorted(robot.latencies_ms)} only in {START_S:.0f} s')
        robot.sense()
        robot.listen_until(time.monotonic() + 1 / RATE_HZ)
    start_s = time.monotonic()
    sent, began_s, callbacks_s, all_s = 0, start_s, 0.0, 0.0
    while (due_s := start_s + sent / RATE_HZ) < start_s + WARM_UP_S + seconds:
        robot.listen_until(due_s)
        if sent == round(WARM_UP_S * RATE_HZ):
            robot.forget()
            began_s = time.monotonic()
            callbacks_s, all_s = thread_s(nodes.pid), process_s(nodes.pid)
        robot.sense()
        sent += 1
    took_s = time.monotonic() - began_s
    callbacks_s = thread_s(nodes.pid) - callbacks_s
    all_s = process_s(nodes.pid) - all_s
    summary = robot.summary()
    robot.node.destroy_node()
    rclpy.shutdown()
    return {
        'rates_hz': {**dict.fromkeys(SENSORS[:5], RATE_HZ), **RATES_HZ},
        'seconds': round(took_s, 1),
        'load_average': round(os.getloadavg()[0], 1),
        'callbacks_share_of_a_core': round(callbacks_s / took_s, 3),
        'process_share_of_a_core': round(all_s / took_s, 3),
        **summary,
    }


def thread_s(pid: int) -> float:
    """Return the processor time of the main thread of a process, seconds."""
    return _spent_s(Path(f'/proc/{pid}/task/{pid}/stat'))


def process_s(pid: int) -> float:
    """Return the processor time of all threads of a process, seconds."""
    return _spent_s(Path(f'/proc/{pid}/stat'))


def _spent_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def send(seconds: float) -> None:
    """Publish wrenches, joint states and inertial data at their rates."""
    use_dds_profile()
    rclpy.init()
    node = rclpy.create_node('feelings')
    rng = np.random.default_rng(0)
    messages = {name: make() for name, make in MESSAGES.items()}
    publishers = {
        name: node.create_publisher(type(message), TOPICS[name], qos_profile_sensor_data)
        for name, message in messages.items()
    }
    start_s = time.monotonic()
    due_s = dict.fromkeys(messages, start_s)
    while (now_s := time.monotonic()) < start_s + seconds:
        for name, message in messages.items():
            if now_s >= due_s[name]:
                due_s[name] += 1 / RATES_HZ[name]
                change(name, message, rng)
                message.header.stamp = to_stamp(stamp_ns(node))
                publishers[name].publish(message)
        time.sleep(max(0.0, min(due_s.values()) - time.monotonic()))


def stamp_ns(node: Node) -> int:
    """Return the time of the ROS clock."""
    return int(node.get_clock().now().nanoseconds)


def change(name: str, message: Any, rng: np.random.Generator) -> None:
    """Give a message other values."""
    if name == 'joints':
        for part in ('position', 'velocity', 'effort'):
            setattr(message, part, rng.normal(0, 0.1, len(message.name)))
        return
    one, other = (Vector3(**dict(zip('xyz', rng.normal(0, 0.1, 3), strict=True))) for _ in '12')
    if name == 'wrench':
        message.wrench.force, message.wrench.torque = one, other
    else:
        message.linear_acceleration, message.angular_velocity = one, other


if __name__ == '__main__':
    main()
