"""A small frozen model set, and a recipe of its readouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from encoders.model_sets.files import ModelSet, save_model_set
from encoders.text.minilm import text_tower
from encoders.vision.vit import VisionTower
from train.training.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[3] / 'config' / 'recipes'


@pytest.fixture(scope='session')
def small_set(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a set of random towers for the drawn bags."""
    folder = tmp_path_factory.mktemp('small') / 'small'
    space = text_tower('minilm-l6-v2').space
    manifest = load_recipe(recipe_file).manifest(space=space, provenance={})
    torch.manual_seed(0)
    towers = {name: VisionTower(spec.vision) for name, spec in manifest.modalities.items()}
    save_model_set(folder, ModelSet(manifest, towers))
    return folder


@pytest.fixture(scope='session')
def readout_values(small_set: Path) -> dict[str, Any]:
    """A recipe of readouts small enough for the drawn bags."""
    values = yaml.safe_load((RECIPES / 'lb-mini-readout.yaml').read_text())
    return values | {
        'name': 'asked',
        'start': str(small_set),
        'modalities': ['image', 'infrared'],
        'width': 32,
        'text_hidden': 32,
        'batch': 16,
        'facts': 4,
        'max_steps': 6,
        'warmup_steps': 2,
        'learning_rate': 1e-2,
        'ema': 0.9,
        'relations': {'image': {'open': 1.0}, 'infrared': {'hot': 1.0}},
        'precision': 'fp32',
        'save_every_steps': 2,
    }
