"""Small bags with drawn pictures and sounds by a foreign writer; small recipes and weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from encoders.languagebind.released import released_name
from encoders.text.clip import VOCABULARY, TextConfig, text_shapes
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from train.bags.reader import OWN_MESSAGES
from train.pairs.make import manifest_of, plan_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.shards import write_shards
from train.training.trained_set import released_config

RECIPES = Path(__file__).resolve().parents[2] / 'config' / 'recipes'
START_NS = 1_700_000_000_000_000_000
SIDE = 32
RATE_HZ = 16_000
STEP_S = 0.5
TYPES = {
    '/camera/image/compressed': 'sensor_msgs/msg/CompressedImage',
    '/depth/image': 'sensor_msgs/msg/Image',
    '/infrared/image': 'sensor_msgs/msg/Image',
    '/microphone/audio': 'lb_ros/msg/AudioChunk',
    '/ground_truth/predicates': 'lb_ros/msg/PredicateTruth',
}
RAW_CAMERA = {'/camera/image': 'sensor_msgs/msg/Image'}
BOXES = '/tracker/cup'
Box = tuple[int, int, int, int]
Moments = Sequence[Mapping[str, bool]]


class DrawnBag:
    """Draws what is true: an open drawer is a bright and near bar, a hot stove a warm spot in
    infrared only, and something dropped a burst of noise in the 0.2 s before the stamp."""

    def __init__(self) -> None:
        self._types = get_typestore(Stores.ROS2_JAZZY)
        for name in ('AudioChunk', 'PredicateTruth'):
            text = (OWN_MESSAGES / f'{name}.msg').read_text()
            self._types.register(get_types_from_msg(text, f'lb_ros/msg/{name}'))

    def write(
        self,
        path: Path,
        moments: Moments,
        *,
        marks: Mapping[str, str] | None = None,
        skip: Sequence[str] = (),
        seed: int = 0,
        storage: StoragePlugin = StoragePlugin.MCAP,
        thermal: Callable[[NDArray[np.uint16]], NDArray[Any]] = lambda counts: counts,
        also_raw: bool = False,
        step_s: float = STEP_S,
        boxes: Mapping[int, Box] | None = None,
    ) -> Path:
        """One bag with a moment every `step_s`; topics in `skip` are left out.

        Args:
            path: New folder.
            moments: What is true at each.
            marks: About its origin.
            skip: Topics.
            seed: Of the noise.
            storage: Format.
            thermal: Makes of the counts what the camera sends.
            also_raw: Record the camera raw as well, on a topic that is listed last.
            step_s: Time between two moments, and length of a chunk of sound.
            boxes: By index of a moment, left, top, width and height on `/tracker/cup`, just before
                its images.
        """
        rng = np.random.default_rng(seed)
        writer = Writer(path, version=9, storage_plugin=storage)
        if storage is StoragePlugin.MCAP:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in (marks or {}).items():
            writer.set_custom_data(f'lb_ros.{key}', value)
        with writer:
            links = {
                topic: writer.add_connection(topic, kind, typestore=self._types)
                for topic, kind in (TYPES | RAW_CAMERA if also_raw else TYPES).items()
                if topic not in skip
            }
            if boxes:
                links[BOXES] = writer.add_connection(
                    BOXES, 'sensor_msgs/msg/RegionOfInterest', typestore=self._types
                )
            for index, truth in enumerate(moments, start=1):
                stamp_ns = START_NS + round(index * step_s * 1e9)
                drawn = self._messages(stamp_ns, truth, rng, thermal, step_s)
                if boxes and index in boxes:
                    drawn = {BOXES: self._box(boxes[index]), **drawn}
                for topic, message in drawn.items():
                    if topic in links:
                        raw = self._types.serialize_cdr(message, message.__msgtype__)
                        writer.write(links[topic], stamp_ns, raw)
        return path

    def _messages(
        self,
        stamp_ns: int,
        truth: Mapping[str, bool],
        rng: np.random.Generator,
        thermal: Callable[[NDArray[np.uint16]], NDArray[Any]],
        step_s: float,
    ) -> dict[str, Any]:
        rgb, depth_mm, infrared = draw(truth, rng)
        jpeg = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].ravel()
        sound = noise(truth, rng, length_s=step_s)
        new, header = self._new, self._header
        begin_ns = stamp_ns - round(step_s * 1e9)
        return {
            '/camera/image/compressed': new(
                'sensor_msgs/msg/CompressedImage',
                header=header(stamp_ns),
                format='jpeg',
                data=jpeg,
            ),
            '/depth/image': self._plane(stamp_ns, '16UC1', depth_mm),
            '/infrared/image': self._plane(stamp_ns, '', thermal(infrared)),
            '/camera/image': self._plane(stamp_ns, 'rgb8', rgb),
            '/microphone/audio': new(
                'lb_ros/msg/AudioChunk',
                header=header(begin_ns),
                sample_rate_hz=RATE_HZ,
                channels=1,
                samples=sound,
            ),
            '/ground_truth/predicates': new(
                'lb_ros/msg/PredicateTruth',
                header=header(stamp_ns),
                predicates=list(truth),
                values=np.array(list(truth.values()), bool),
            ),
        }

    def _box(self, box: Box) -> Any:
        names = ('x_offset', 'y_offset', 'width', 'height')
        values = dict(zip(names, box, strict=True))
        return self._new('sensor_msgs/msg/RegionOfInterest', **values, do_rectify=False)

    def _plane(self, stamp_ns: int, encoding: str, plane: NDArray[Any]) -> Any:
        return self._new(
            'sensor_msgs/msg/Image',
            header=self._header(stamp_ns),
            height=SIDE,
            width=SIDE,
            encoding=encoding or f'mono{8 * plane.itemsize}',
            is_bigendian=0,
            step=plane.nbytes // SIDE,
            data=plane.view(np.uint8).ravel(),
        )

    def _header(self, stamp_ns: int) -> Any:
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        stamp = self._new('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)
        return self._new('std_msgs/msg/Header', stamp=stamp, frame_id='camera')

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)


def draw(
    truth: Mapping[str, bool], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]]:
    """RGB, millimetres and centikelvin of one moment."""
    rgb = rng.integers(40, 90, (SIDE, SIDE, 3)).astype(np.uint8)
    depth_mm = rng.integers(1400, 1500, (SIDE, SIDE)).astype(np.uint16)
    infrared = rng.integers(29_400, 29_600, (SIDE, SIDE)).astype(np.uint16)
    if truth.get('open(top drawer)'):
        rgb[8:24, 4:14] = 230
        depth_mm[8:24, 4:14] = 600
    if truth.get('hot(stove)'):
        infrared[16:28, 18:28] = 42_000
    return rgb, depth_mm, infrared


def noise(
    truth: Mapping[str, bool], rng: np.random.Generator, *, length_s: float = STEP_S
) -> NDArray[np.int16]:
    """The sound before one moment."""
    wave = rng.normal(0, 20, round(length_s * RATE_HZ))
    if truth.get('dropped(something)'):
        burst = wave[-round(0.2 * RATE_HZ) :]
        burst += rng.normal(0, 6000, len(burst))
    return wave.clip(-32_767, 32_767).astype(np.int16)


def random_moments(count: int, *, seed: int) -> list[dict[str, bool]]:
    """Truths of three facts that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    names = ('open(top drawer)', 'hot(stove)', 'dropped(something)')
    return [
        dict(zip(names, map(bool, row), strict=True)) for row in rng.integers(0, 2, (count, 3))
    ]


@pytest.fixture
def one_thread() -> None:
    """PyTorch computes with one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def drawn() -> DrawnBag:
    """The writer of drawn bags."""
    return DrawnBag()


@pytest.fixture(scope='session')
def train_bags(drawn: DrawnBag, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six bags to learn from."""
    folder = tmp_path_factory.mktemp('train')
    for index in range(6):
        moments = random_moments(20, seed=index)
        drawn.write(folder / f'bag{index}', moments, marks={'split': 'train'}, seed=index)
    return folder


@pytest.fixture(scope='session')
def held_out_bags(drawn: DrawnBag, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two bags that were not learned from."""
    folder = tmp_path_factory.mktemp('held_out')
    for index in range(2):
        drawn.write(folder / f'new{index}', random_moments(40, seed=50 + index), seed=50 + index)
    return folder


@pytest.fixture(scope='session')
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe small enough for the drawn bags."""
    path = tmp_path_factory.mktemp('recipe') / 'drawn.yaml'
    path.write_text(RECIPE)
    return path


RECIPE = """
name: drawn
text_tower: minilm-l6-v2
trainable: all
start: null
phrasings: trained
vit: {width: 32, layers: 2, heads: 2, mlp_ratio: 2.0, patch_size: 8, projection: 384}
modalities:
  image: {size: 32}
  depth: {size: 32}
  infrared: {size: 32}
  audio: {mel_bins: 32, frames: 48}
lora_rank: 4
lora_alpha: 8.0
max_steps: 120
max_minutes: 1.0e+9
batch: {image: 16, depth: 16, infrared: 16, audio: 16}
patch_dropout: 0.2
learning_rate: 3.0e-3
weight_decay: 0.05
warmup_steps: 10
clip_norm: 1.0
ema: 0.95
text_jitter: 0.15
contrastive_weight: 0.1
region_weight: {}
precision: fp32
relations:
  image: &all {open: 1.0, hot: 1.0, dropped: 1.0}
  depth: *all
  infrared: *all
  audio: *all
seed: 0
validate_every_minutes: 1.0e+9
"""


@pytest.fixture(scope='session')
def pair_folder(drawn: DrawnBag, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 48 pairs from four drawn bags."""
    report = PairsReport()
    folder = tmp_path_factory.mktemp('pairs')
    bags = [drawn.write(folder / f'bag{k}', random_moments(12, seed=k), seed=k) for k in range(4)]
    plan = plan_pairs(bags, PairOptions(window_s=0.5), report=report)
    pairs = list(stream_pairs(plan, report=report))
    write_shards(folder / 'pairs', pairs, described=manifest_of(plan, report, split='train'))
    return folder / 'pairs'


@pytest.fixture(scope='session')
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Released LanguageBind folders of random weights with CLIP's vocabulary, by modality."""
    folder = tmp_path_factory.mktemp('tiny')
    shape = {'width': 16, 'layers': 2, 'heads': 2, 'mlp_width': 32}
    text = TextConfig(**shape, vocabulary=VOCABULARY, context=77, projection=24)
    draw = torch.Generator().manual_seed(0)
    words = {
        name: torch.randn(size, generator=draw) * (0.3 if len(size) > 1 else 0.1)
        for name, size in text_shapes(text).items()
    }
    sizes = {'audio': (28, 42)}
    for name in ('image', 'depth', 'infrared', 'audio', 'video'):
        clip = {'frames': 8, 'temporal': True} if name == 'video' else {}
        vision = VisionConfig(
            **shape, patch_size=14, image_size=sizes.get(name, (28, 28)), projection=24, **clip
        )
        torch.manual_seed(len(name))
        tower = VisionTower(vision)
        (folder / name).mkdir()
        described = json.dumps(released_config(name, vision, text))
        (folder / name / 'config.json').write_text(described)
        tensors = {released_name(k): v for k, v in tower.state_dict().items()}
        torch.save({**tensors, **words}, folder / name / 'pytorch_model.bin')
    return {path.name: str(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope='session')
def recipe_values(tiny_checkpoints: dict[str, str]) -> dict[str, Any]:
    """A contrastive recipe small enough for the tiny checkpoints."""
    values = yaml.safe_load((RECIPES / 'languagebind-depth.yaml').read_text())
    return values | {
        'name': 'tiny',
        'start': tiny_checkpoints,
        'modalities': ['depth', 'infrared'],
        'lora': {'rank': 4, 'alpha': 16},
        'patch_dropout': {'depth': 0.5, 'infrared': 0.0},
        'batch': 12,
        'micro_batch': 6,
        'max_steps': 6,
        'warmup_steps': 2,
        'learning_rate': 1e-2,
        'precision': 'fp32',
        'save_every_steps': 2,
    }
