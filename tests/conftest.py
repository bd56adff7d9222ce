"""Shared by all tests: private ROS domains, and a small real model set."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from encoders.model_sets.files import ModelSet, save_model_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.preprocess.mini import audio, depth, image, infrared
from encoders.text.minilm import text_tower
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower, tie
from tests.domains import own_domain

with contextlib.suppress(ImportError):
    # PyTorch loads it late. Its LLVM must come before that of the simulator's renderer, in one
    # process the other order crashes; outside of tests the two never share a process.
    import triton  # noqa: F401

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile('any machine', deadline=None)
settings.load_profile('any machine')

# As in a terminal: under `nohup` and in the background of a shell, processes ignore these, and so
# would those that tests start and stop.
for _signum, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with nodes run last: what fails without ROS should fail first."""
    items.sort(key=lambda item: item.get_closest_marker('ros') is not None)


@pytest.fixture
def ros_domain() -> Iterator[int]:
    """A ROS domain of this test's own, also for the processes it starts."""
    with own_domain() as domain:
        yield domain


@pytest.fixture(scope='session')
def tiny_model_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model set of all four modalities, written and read like any other."""
    tower = text_tower('minilm-l6-v2')
    square = VisionConfig(
        width=48, layers=2, heads=2, mlp_width=96, patch_size=16, image_size=(64, 64),
        projection=384,
    )  # fmt: skip
    modalities = {
        'image': ModalitySpec(square, image.ImageConfig(size=64)),
        'depth': ModalitySpec(replace(square, lora_rank=2), depth.DepthConfig(size=64)),
        'infrared': ModalitySpec(square, infrared.InfraredConfig(size=64)),
        'audio': ModalitySpec(replace(square, image_size=(64, 96)), audio.AudioConfig(frames=96)),
    }
    manifest = Manifest('tiny', tower.space, tower.name, modalities)
    torch.manual_seed(0)
    towers = {name: VisionTower(spec.vision) for name, spec in modalities.items()}
    tie(towers)
    torch.nn.init.normal_(towers['depth'].encoder.layers[0].self_attn.q_proj.lora_B)
    folder = tmp_path_factory.mktemp('models') / 'tiny'
    save_model_set(folder, ModelSet(manifest, towers))
    return folder
