"""The node of a modality that the shipped set does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from encoders import Binder
from encoders.model_sets.files import ModelSet, save_model_set
from encoders.shipped import shipped
from encoders.text.minilm import text_tower
from encoders.vision.vit import VisionTower
from lb_ros.msg import Embedding
from tests.waiting import wait_until
from train.training.recipe import load_recipe

pytestmark = pytest.mark.ros

LIMIT_S = 120.0


@pytest.fixture
def touch_set(tmp_path: Path) -> Path:
    """A set of the shape that the recipe trains, with random weights."""
    recipe = load_recipe(shipped('config/recipes/touch.yaml'))
    space = text_tower(recipe.text_tower).space
    manifest = recipe.manifest(space=space, provenance={'weights': 'random'})
    towers = {name: VisionTower(spec.vision) for name, spec in manifest.modalities.items()}
    save_model_set(tmp_path / 'set', ModelSet(manifest, towers))
    return tmp_path / 'set'


def test_the_touch_encoder_publishes_what_its_set_makes_of_a_gel(
    ros_domain: int, touch_set: Path
) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', 'touch_encoder', '--ros-args']
    process = subprocess.Popen(
        [*command, '-p', f'model:={touch_set}', '-p', 'precision:=fp32'], stdout=subprocess.DEVNULL
    )
    rclpy.init()
    node = rclpy.create_node('hand')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    heard: list[Embedding] = []
    node.create_subscription(Embedding, 'embeddings/touch', heard.append, qos_profile_sensor_data)
    fingers = node.create_publisher(Image, 'touch/image', qos_profile_sensor_data)
    gel = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    message = Image(encoding='rgb8', height=48, width=64, step=192, data=gel.tobytes())
    message.header.frame_id = 'finger_pads'
    try:

        def touch() -> None:
            assert process.poll() is None
            message.header.stamp = node.get_clock().now().to_msg()
            fingers.publish(message)
            executor.spin_once(timeout_sec=0.05)

        wait_until(lambda: heard, limit_s=LIMIT_S, meanwhile=touch)
    finally:
        process.kill()
        process.wait()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    assert heard[0].modality == 'touch'
    assert heard[0].header.frame_id == 'finger_pads'
    binder = Binder.load(touch_set)
    assert heard[0].language_space == binder.space
    expected = binder.embed(touch=gel)['touch'][0]
    np.testing.assert_allclose(heard[0].vector, expected, atol=1e-4)
