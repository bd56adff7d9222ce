"""Shapes of the family at full size, and what a tower refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import MODALITIES, SENSED, SERIES
from encoders.languagebind.released import read_released
from encoders.model_sets.released import load_released
from encoders.text.clip import TextConfig, text_shapes
from encoders.vision.config import VisionConfig
from encoders.vision.vit import LoraLinear, VisionTower, draw_kept_patches, vision_shapes

LARGE = VisionConfig(
    width=1024, layers=24, heads=16, mlp_width=4096, patch_size=14, image_size=(224, 224),
    projection=768,
)  # fmt: skip
HUGE = VisionConfig(
    width=1280, layers=32, heads=16, mlp_width=5120, patch_size=14, image_size=(224, 224),
    projection=1024, frames=8, temporal=True, per_frame=True,
)  # fmt: skip
LARGE_TEXT = TextConfig(
    width=768, layers=12, heads=12, mlp_width=3072, vocabulary=49408, context=77, projection=768
)


@pytest.mark.parametrize(
    ('changes', 'count'),
    [
        ({}, 427_616_513),
        ({'lora_rank': 2}, 428_009_729),
        ({'image_size': (112, 1036)}, 427_960_577),
        ({'frames': 8, 'temporal': True}, 528_623_873),
    ],
)
def test_full_size_models_have_the_published_size(changes: dict[str, Any], count: int) -> None:
    vision = vision_shapes(VisionConfig(**{**asdict(LARGE), **changes}))
    shapes = [*vision.values(), *text_shapes(LARGE_TEXT).values()]
    assert sum(shape.numel() for shape in shapes) == count


def test_the_huge_model_embeds_every_frame() -> None:
    shapes = vision_shapes(HUGE)
    assert shapes['embeddings.class_embedding'] == (8, 1280)
    assert shapes['embeddings.patch_embedding.weight'] == (1280, 3, 1, 14, 14)
    assert shapes['encoder.layers.31.temporal_embedding'] == (1, 8, 1280)


def test_a_tower_refuses_other_inputs() -> None:
    tower = VisionTower(
        VisionConfig(
            width=16,
            layers=1,
            heads=2,
            mlp_width=32,
            patch_size=14,
            image_size=(28, 28),
            projection=8,
            frames=2,
            temporal=True,
        )
    )
    assert tower(torch.zeros(3, 3, 2, 28, 28)).shape == (3, 8)
    for shape in ((3, 3, 28, 28), (1, 3, 8, 28, 28), (1, 3, 2, 28, 42)):
        with pytest.raises(ValueError, match=r'does not fit, expected \[B, 3, 2, 28, 28\]'):
            tower(torch.zeros(shape))


def test_clips_as_loaders_of_pairs_stack_them() -> None:
    tower = VisionTower(
        VisionConfig(
            width=16, layers=1, heads=2, mlp_width=32, patch_size=14, image_size=(28, 28),
            projection=8, frames=2, temporal=True,
        )
    ).eval()  # fmt: skip
    stacked = torch.randn(2, 3, 2, 1, 3, 28, 28)
    with torch.no_grad():
        found = tower(stacked)
        clips = stacked.squeeze(3).flatten(0, 1).transpose(1, 2)
        torch.testing.assert_close(found, tower(clips))
    with pytest.raises(ValueError, match=r'\[2, 3, 5, 1, 3, 28, 28\] does not fit'):
        tower(torch.zeros(2, 3, 5, 1, 3, 28, 28))


def test_single_frames_may_be_stacked_too(oracle_folder: Path) -> None:
    encoder: Any = load_released({'depth': oracle_folder / 'depth'}).encoders['depth']
    stacked = torch.randn(1, 2, 1, 2, 3, 224, 224)
    with torch.no_grad():
        found = encoder.encode(stacked)
        torch.testing.assert_close(found, encoder.encode(stacked.view(4, 3, 224, 224)))


def test_kept_patches_are_those_of_the_reference(oracle: Callable[[str], Any]) -> None:
    wanted = oracle('depth/train_step.npz')['train/patch_keep_indices']
    generator = torch.Generator().manual_seed(0)
    found = draw_kept_patches(3, 256, 0.5, generator=generator)
    np.testing.assert_array_equal(found, wanted)
    assert draw_kept_patches(1, 256, 0.3).shape == (1, 179)
    assert draw_kept_patches(1, 4, 0.99).shape == (1, 1)


def test_the_scale_of_low_rank_updates(oracle_folder: Path) -> None:
    tower: Any = load_released({'depth': oracle_folder / 'depth'}).encoders['depth'].tower
    layer = tower.encoder.layers[0].self_attn.q_proj
    assert isinstance(layer, LoraLinear)
    assert layer.scale == 8.0
    assert read_released(oracle_folder / 'audio').config.vision.lora_rank == 8


def test_no_node_feeds_a_video_encoder() -> None:
    assert set(MODALITIES) - set(SENSED) - set(SERIES) == {'video'}
    sensors = [MODALITIES[name].sensor for name in SENSED]
    assert len(set(sensors)) == len(sensors) and all(sensors)
