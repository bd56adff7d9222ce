"""What is written into a simulator bag comes back, through the readers that robots' bags use."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag2 import WriterError

from encoders.decode import decode_audio, decode_image
from train.bags.folder import read_marks
from train.bags.load import load_samples
from train.bags.reader import BagMessage, BagReport, read_bag
from train.simulate.bag import CHUNK_S, START_NS, TYPES, EpisodeBag
from train.simulate.camera import INFRARED_SIZE, REGION_SIZE, SIZE, Frame
from train.simulate.sound import RATE_HZ

pytestmark = pytest.mark.sim

MARKS = {'suite': 'libero_goal', 'split': 'evaluation', 'scene': 'kitchen', 'seed': '7'}
TRUTH = {'open(top drawer)': True, 'in(black bowl, top drawer)': False, 'hot(stove)': True}
REGIONS = ('black bowl', 'top drawer')
STAMPS_S = (0.5, 1.0)


def smooth_frame(seed: int) -> Frame:
    """A picture as smooth as rendered ones (JPEG is lossy), with holes in the depth."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    rgb = np.stack([200 * x, 200 * y, 255 * np.sin(3 * x) ** 2], -1).astype(np.uint8)
    depth_mm = (700 + 900 * y + rng.integers(0, 9, y.shape)).astype(np.uint16)
    depth_mm[rng.random(depth_mm.shape) < 0.05] = 0
    counts = rng.integers(28_000, 43_000, (INFRARED_SIZE, INFRARED_SIZE)).astype(np.uint16)
    regions = rng.integers(0, 3, (REGION_SIZE, REGION_SIZE)).astype(np.uint8)
    return Frame(rgb, depth_mm, counts, regions)


def some_sound() -> NDArray[np.int16]:
    rng = np.random.default_rng(1)
    return rng.integers(-32_768, 32_768, round(1.25 * RATE_HZ)).astype(np.int16)


def write_bag(path: Path) -> Path:
    bag = EpisodeBag(path, MARKS)
    bag.task('put the bowl away')
    for index, at_s in enumerate(STAMPS_S):
        bag.frame(at_s, smooth_frame(index), focal_px=300.0)
        bag.truth(at_s, TRUTH)
        bag.regions(at_s, smooth_frame(index).regions, REGIONS)
    bag.sound(0.0, some_sound())
    bag.write()
    return path


def by_topic(path: Path) -> dict[str, list[BagMessage]]:
    report = BagReport(path)
    found: dict[str, list[BagMessage]] = defaultdict(list)
    for message in read_bag(path, report=report):
        found[message.topic].append(message)
    assert not report.problems
    return found


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp('bags') / 'episode')


@pytest.fixture(scope='module')
def messages(bag: Path) -> dict[str, list[BagMessage]]:
    return by_topic(bag)


Topics = dict[str, list[BagMessage]]


def test_topics_and_types_are_those_of_a_robot(messages: Topics) -> None:
    written = {topic: found[0].type_name for topic, found in messages.items()}
    others = ('touch/image', 'wrist/wrench', 'joint_states', 'imu/data')
    assert written == {topic: kind for topic, kind in TYPES.items() if topic not in others}


def test_stamps_are_episode_time_on_a_fixed_date(messages: Topics) -> None:
    expected = [START_NS + round(at_s * 1e9) for at_s in STAMPS_S]
    for topic in (
        'camera/image/compressed',
        'depth/image/compressedDepth',
        'infrared/image',
        'camera/camera_info',
        'ground_truth/predicates',
    ):
        assert [m.stamp_ns for m in messages[topic]] == expected, topic


def test_messages_are_recorded_in_order_of_time(bag: Path) -> None:
    times = [message.log_ns for message in read_bag(bag)]
    assert times == sorted(times)


def test_depth_comes_back_exactly_with_its_holes(messages: Topics) -> None:
    for index, entry in enumerate(messages['depth/image/compressedDepth']):
        depth = decode_image(entry.message, modality='depth').array
        assert depth.dtype == np.uint16
        assert np.array_equal(depth, smooth_frame(index).depth_mm)
        assert (depth == 0).any()


def test_infrared_comes_back_exactly(messages: Topics) -> None:
    for index, entry in enumerate(messages['infrared/image']):
        counts = decode_image(entry.message, modality='infrared').array
        assert np.array_equal(counts, smooth_frame(index).infrared)


def test_colours_come_back_in_their_order(messages: Topics) -> None:
    rgb = decode_image(messages['camera/image/compressed'][0].message, modality='image').array
    original = smooth_frame(0).rgb
    assert rgb.shape == original.shape
    assert np.abs(rgb.astype(int) - original).mean() < 3
    assert np.abs(rgb[..., ::-1].astype(int) - original).mean() > 30


def test_sound_is_gapless_and_exact(messages: Topics) -> None:
    chunks = messages['microphone/audio']
    pieces = [decode_audio(entry.message) for entry in chunks]
    assert {piece.rate_hz for piece in pieces} == {RATE_HZ}
    wave = np.concatenate([piece.wave[0] for piece in pieces])
    assert np.array_equal(wave, some_sound())
    ends = [
        c.stamp_ns + round(p.wave.shape[1] / RATE_HZ * 1e9)
        for c, p in zip(chunks, pieces, strict=True)
    ]
    assert [chunk.stamp_ns for chunk in chunks[1:]] == ends[:-1]
    assert ends[0] == START_NS + round(CHUNK_S * 1e9)


def test_a_chunk_is_recorded_when_its_last_sample_was_heard(messages: Topics) -> None:
    for chunk in messages['microphone/audio']:
        length_s = len(chunk.message.samples) / RATE_HZ
        assert chunk.log_ns == chunk.stamp_ns + round(length_s * 1e9)


def test_truth_keeps_true_false_and_order(messages: Topics) -> None:
    for entry in messages['ground_truth/predicates']:
        values = [bool(value) for value in entry.message.values]
        assert dict(zip(entry.message.predicates, values, strict=True)) == TRUTH
        assert list(entry.message.predicates) == list(TRUTH)


def test_task_and_camera_info(messages: Topics) -> None:
    (task,) = messages['task/text']
    assert task.message.data == 'put the bowl away'
    info = messages['camera/camera_info'][0].message
    assert (info.width, info.height) == (SIZE, SIZE)
    assert info.k.reshape(3, 3)[0, 0] == info.p.reshape(3, 4)[1, 1] == 300.0


def test_marks_record_the_origin_of_a_bag(bag: Path) -> None:
    assert read_marks(bag) == MARKS


def test_types_are_embedded_so_that_others_can_read_the_bag(bag: Path) -> None:
    (storage,) = bag.glob('*.mcap')
    from mcap.reader import make_reader

    with storage.open('rb') as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    texts = {schema.name: schema.data.decode() for schema in summary.schemas.values()}
    assert 'sample_rate_hz' in texts['lb_ros/msg/AudioChunk']
    assert 'bool[] values' in texts['lb_ros/msg/PredicateTruth']


def test_equal_episodes_are_equal_byte_for_byte(bag: Path, tmp_path: Path) -> None:
    again = list(read_bag(write_bag(tmp_path / 'again')))
    first = list(read_bag(bag))
    assert [(m.topic, m.log_ns, m.raw) for m in again] == [
        (m.topic, m.log_ns, m.raw) for m in first
    ]


def test_an_existing_bag_is_never_overwritten(bag: Path) -> None:
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    with pytest.raises(WriterError):
        write_bag(bag)
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


def test_the_named_parts_come_back_with_the_moments_of_their_frames(tmp_path: Path) -> None:
    write_bag(tmp_path / 'one')
    samples, report = load_samples([tmp_path / 'one'], {})
    assert report.problems == ()
    assert samples.region_names == REGIONS
    for index in range(len(STAMPS_S)):
        np.testing.assert_array_equal(samples.regions[index], smooth_frame(index).regions)
