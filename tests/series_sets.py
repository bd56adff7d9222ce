"""Untrained model sets of depth and the series on one trunk, written and read like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from encoders.decode.channels import ChannelDescription, config_values
from encoders.modalities import SERIES
from encoders.model_sets.files import ModelSet, save_model_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.preprocess import is_series, mini_config
from encoders.preprocess.mini import depth
from encoders.text.minilm import text_tower
from encoders.vision.config import VisionConfig
from encoders.vision.stem import DescribedStem
from encoders.vision.vit import VisionTower, tie

SQUARE = VisionConfig(
    width=48, layers=2, heads=2, mlp_width=96, patch_size=16, image_size=(64, 64), projection=384,
    lora_rank=2,
)  # fmt: skip


def spec_of(name: str, **values: Any) -> ModalitySpec:
    """A small encoder of a series; `values` configure its preprocessing."""
    config = mini_config(name, values)
    assert is_series(config)
    shape = replace(
        SQUARE,
        stem='series',
        channels=len(config.channels),
        patch_size=config.patch,
        image_size=config.input_size,
    )
    return ModalitySpec(shape, config)


def write_series_set(
    folder: Path,
    *,
    name: str = 'felt',
    own: Mapping[str, Mapping[str, Any]] | None = None,
    **values: Any,
) -> Path:
    """Write a set of depth and all series with random weights.

    Args:
        folder: Where it is written.
        name: Name of the set.
        own: Values of single modalities, in addition to `values`.
        values: As for `spec_of`.
    """
    each = {modality: {**values, **(own or {}).get(modality, {})} for modality in SERIES}
    specs = {'depth': ModalitySpec(SQUARE, depth.DepthConfig(size=64))}
    specs |= {modality: spec_of(modality, **each[modality]) for modality in SERIES}
    text = text_tower('minilm-l6-v2')
    torch.manual_seed(0)
    towers = {modality: VisionTower(spec.vision) for modality, spec in specs.items()}
    tie(towers)
    for tower in towers.values():
        torch.nn.init.normal_(tower.encoder.layers[0].self_attn.q_proj.lora_B)
    save_model_set(folder, ModelSet(Manifest(name, text.space, text.name, specs), towers))
    return folder


def described_set(channels: Mapping[str, ChannelDescription], **values: Any) -> ModelSet:
    """A set of described channels as training makes it, with random weights.

    Args:
        channels: Name to description.
        values: They configure its preprocessing.
    """
    config = mini_config('signals', config_values(channels) | values)
    assert is_series(config)
    torch.manual_seed(0)
    vision = VisionConfig(
        width=32, layers=1, heads=2, mlp_width=32, patch_size=config.patch,
        image_size=config.input_size, projection=384, channels=len(config.channels),
        stem='described',
    )  # fmt: skip
    tower = VisionTower(vision).eval()
    text = text_tower('minilm-l6-v2')
    stem = tower.embeddings.patch_embedding
    assert isinstance(stem, DescribedStem)
    stem.describe(torch.from_numpy(text.embed(config.words)))
    specs = {'signals': ModalitySpec(vision, config)}
    return ModelSet(Manifest('felt', text.space, text.name, specs), {'signals': tower})
