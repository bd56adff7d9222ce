"""A camera's pictures become clips, live."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders import Binder
from encoders.decode.streams import PARTS, ClipStream, evenly
from encoders.model_sets.files import ModelSet, save_model_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.preprocess.languagebind.video import VideoConfig
from encoders.text.minilm import text_tower
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from lb_ros.engine.arrival import Arrival, Encoded
from lb_ros.engine.worker import EncodingWorker
from lb_ros.ros.stamps import to_ns
from tests.lb_ros.sinks import QueueSink
from tests.waiting import wait_until

LIMIT_S = 120.0
SIDE = 48
PERIOD_NS = 100_000_000
PICTURES = np.random.default_rng(0).integers(0, 255, (40, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope='session')
def video_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of a video encoder alone, with random weights."""
    vision = VisionConfig(
        width=48, layers=2, heads=2, mlp_width=96, patch_size=16, image_size=(32, 32),
        projection=384, frames=8, temporal=True,
    )  # fmt: skip
    tower = text_tower('minilm-l6-v2')
    spec = ModalitySpec(vision, VideoConfig(size=32))
    manifest = Manifest('clips', tower.space, tower.name, {'video': spec})
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('models') / 'clips'
    save_model_set(folder, ModelSet(manifest, {'video': VisionTower(vision)}))
    return folder


@pytest.fixture
def binder(video_set: Path) -> Binder:
    return Binder.load(video_set)


@pytest.fixture
def encoded() -> queue.Queue[Encoded]:
    return queue.Queue()


@pytest.fixture
def heard() -> list[str]:
    """Modalities that somebody listens to."""
    return ['video']


@pytest.fixture
def worker(
    binder: Binder, encoded: queue.Queue[Encoded], heard: list[str]
) -> Iterator[EncodingWorker]:
    sink = QueueSink(encoded, lambda name: name in heard)
    worker = EncodingWorker(binder, sink, log=lambda line: None)
    worker.add_sensor('video')
    yield worker
    worker.close()


def arrival(index: int, *, encoding: str = 'rgb8') -> Arrival:
    data = PICTURES[index].tobytes()
    message: Any = SimpleNamespace(
        encoding=encoding, width=SIDE, height=SIDE, step=3 * SIDE, is_bigendian=0, data=data
    )
    return Arrival(message, index * PERIOD_NS, 'camera', time.monotonic())


def clip_of(binder: Binder, indices: list[int]) -> np.ndarray:
    frames = [indices[chosen] for chosen in evenly([i * PERIOD_NS for i in indices], 8)]
    return binder.embed(video=PICTURES[frames])['video'][0]


def test_every_picture_ends_a_clip_of_the_last_seconds(
    worker: EncodingWorker, binder: Binder, encoded: queue.Queue[Encoded]
) -> None:
    for index in range(len(PICTURES)):
        worker.put('video', arrival(index))
        found = encoded.get(timeout=LIMIT_S)
        first = max(0, index - 20)
        assert (found.stamp_ns, found.window_start_ns) == (index * PERIOD_NS, first * PERIOD_NS)
        assert found.valid_fraction == pytest.approx((index - first) / 20)
        expected = clip_of(binder, list(range(first, index + 1)))
        np.testing.assert_allclose(found.vector, expected, atol=1e-5)
    expected = binder.embed(video=PICTURES[-21:])['video'][0]
    np.testing.assert_allclose(found.vector, expected, atol=1e-5)


def test_the_first_clip_that_somebody_asks_for_is_a_whole_one(
    worker: EncodingWorker, binder: Binder, encoded: queue.Queue[Encoded], heard: list[str]
) -> None:
    heard.clear()
    for index in range(30):
        worker.put('video', arrival(index))
    assert worker.unheard() == ['video'] and encoded.empty()
    heard.append('video')
    worker.look()
    found = encoded.get(timeout=LIMIT_S)
    assert found.valid_fraction == 1.0
    np.testing.assert_allclose(found.vector, clip_of(binder, list(range(9, 30))), atol=1e-5)


def test_a_picture_that_cannot_be_decoded_spoils_one_clip(
    worker: EncodingWorker, binder: Binder, encoded: queue.Queue[Encoded], heard: list[str]
) -> None:
    heard.clear()
    for index in range(8):
        worker.put('video', arrival(index, encoding='unknown' if index == 3 else 'rgb8'))
    heard.append('video')
    worker.look()
    while worker.counters()['video'].failed == 0:
        assert encoded.empty()
    worker.put('video', arrival(8))
    found = encoded.get(timeout=LIMIT_S)
    np.testing.assert_allclose(found.vector, clip_of(binder, [0, 1, 2, 4, 5, 6, 7, 8]), atol=1e-5)
    assert worker.counters()['video'].failed == 1


def test_a_jump_of_time_begins_a_new_clip(
    worker: EncodingWorker, encoded: queue.Queue[Encoded]
) -> None:
    for index in (20, 21):
        worker.put('video', arrival(index))
        encoded.get(timeout=LIMIT_S)
    worker.forget_past('video')
    worker.put('video', arrival(5))
    found = encoded.get(timeout=LIMIT_S)
    assert (found.window_start_ns, found.valid_fraction) == (5 * PERIOD_NS, 0.0)


@given(st.lists(st.integers(0, 4 * 10**9), min_size=1, max_size=200))
def test_messages_are_kept_for_a_window_and_few_of_them(stamps: list[int]) -> None:
    clip = ClipStream('video', 1.0)
    for stamp_ns in stamps:
        kept = [p.stamp_ns for p in clip.add('', stamp_ns=stamp_ns).content]
        assert kept == sorted(set(kept)) and len(kept) <= PARTS + 1
        assert kept[-1] == stamp_ns and kept[0] >= stamp_ns - 10**9


@pytest.mark.ros
def test_the_video_encoder_publishes_clips_of_the_camera(ros_domain: int, video_set: Path) -> None:
    rclpy = pytest.importorskip('rclpy')
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from lb_ros.msg import Embedding

    command = [sys.executable, '-m', 'lb_ros.start', 'video_encoder', '--ros-args']
    words = [f'model:={video_set}', 'precision:=fp32', 'video_window_s:=1.0']
    process = subprocess.Popen(
        [*command, *(word for each in words for word in ('-p', each))], stdout=subprocess.DEVNULL
    )
    rclpy.init()
    node = rclpy.create_node('robot')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    heard: list[Embedding] = []
    node.create_subscription(Embedding, 'embeddings/video', heard.append, qos_profile_sensor_data)
    camera = node.create_publisher(Image, 'camera/image', qos_profile_sensor_data)
    data = PICTURES[0].tobytes()
    message = Image(encoding='rgb8', height=SIDE, width=SIDE, step=3 * SIDE, data=data)
    message.header.frame_id = 'head'
    try:

        def see() -> None:
            assert process.poll() is None
            message.header.stamp = node.get_clock().now().to_msg()
            camera.publish(message)
            executor.spin_once(timeout_sec=0.05)

        wait_until(
            lambda: heard and heard[-1].valid_fraction >= 0.5, limit_s=LIMIT_S, meanwhile=see
        )
    finally:
        process.kill()
        process.wait()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    last = heard[-1]
    assert (last.modality, last.header.frame_id, last.source) == ('video', 'head', '/camera/image')
    span_s = (to_ns(last.header.stamp) - to_ns(last.window_start)) * 1e-9
    assert span_s == pytest.approx(last.valid_fraction, abs=1e-6) and span_s <= 1.0
    # Every picture was the same one.
    expected = Binder.load(video_set).embed(video=PICTURES[:1])['video'][0]
    np.testing.assert_allclose(last.vector, expected, atol=1e-4)
