"""Shared by all tests: private ROS domains, and a small real model set."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
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
    import_module('triton')

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


# Packages that not every environment has, and how to recognize a test module that needs them.
ROS = r'^(import rclpy|from (rclpy|lb_ros\.(client|msg|nodes|ros))\b|pytestmark = .*mark\.ros\b)'
SIMULATOR = r'^pytestmark = .*mark\.sim\b'
OPTIONAL = {
    'rclpy': ROS,
    'py_trees': r'^import py_trees$',
    **dict.fromkeys(('mujoco', 'libero', 'metaworld'), SIMULATOR),
}
MISSING = [package for package in OPTIONAL if find_spec(package) is None]
_uncollected: list[str] = []


@pytest.fixture(scope='session', autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user of this machine taught does not change the scores of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_DATA_HOME', str(tmp_path_factory.mktemp('data')))
        yield


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out test modules whose packages are not installed; the summary names them."""
    if not MISSING or collection_path.suffix != '.py':
        return None
    text = collection_path.read_text()
    needed = [name for name in MISSING if re.search(OPTIONAL[name], text, re.M)]
    if needed:
        _uncollected.append(f'{collection_path.name} ({", ".join(needed)})')
    return True if needed else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the modules that were left out."""
    if _uncollected:
        names = ', '.join(sorted(_uncollected))
        terminalreporter.write_line(f'not collected, packages are missing: {names}')


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
