"""What nobody listens to is not encoded, until somebody asks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.node import Node
from sensor_msgs.msg import Image

from lb_ros.client import LanguageClient
from tests.waiting import wait_until

pytestmark = pytest.mark.ros

START_S = 120.0
LIMIT_S = 60.0


def test_a_question_wakes_a_sensor_that_nobody_listened_to(
    tiny_model_set: Path, ros_domain: int, tmp_path: Path
) -> None:
    predicates = tmp_path / 'predicates.yaml'
    predicates.write_text('predicates:\n  far: {positive: [it is far], modalities: [depth]}\n')
    command = [sys.executable, '-m', 'lb_ros.start', 'bringup', '--ros-args']
    command += ['-p', f'model:={tiny_model_set}', '-p', f'predicates:={predicates}']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with LanguageClient(timeout_s=START_S) as client:
            client.query(['a first question'], modalities=['depth'])
            node = Node('camera', context=client._listener.node.context)
            camera = node.create_publisher(Image, 'camera/image', 1)
            message = Image(encoding='rgb8', height=48, width=64, step=192, data=bytes(9216))

            def seen() -> bool:
                message.header.stamp = node.get_clock().now().to_msg()
                camera.publish(message)
                (found,) = client.query(['a cup'], modalities=['image'])
                return found.probability['image'] is not None

            wait_until(seen, limit_s=LIMIT_S)
            node.destroy_node()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT_S)
        counters = json.loads(output.splitlines()[-1])['counters']['image']
        assert 0 < counters['encoded'] <= counters['received']
    finally:
        process.kill()
