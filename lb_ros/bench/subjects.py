"""Encoders for benchmarks: model sets, and the trunk of a large set with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from encoders.languagebind.released import released_config
from encoders.model_sets.encoder import Encoder
from encoders.model_sets.golden import golden_input
from encoders.model_sets.sources import load_encoders, parse_source
from encoders.model_sets.towers import TowerEncoder
from encoders.transformer import unfilled
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower, tie
from lb_ros.bench.arguments import RANDOM

# The trunk of languagebind-large with random weights: as fast as the real one.
LARGE = VisionConfig(
    width=1024, layers=24, heads=16, mlp_width=4096, patch_size=14, image_size=(224, 224),
    projection=768,
)  # fmt: skip
SHAPES = {
    'image': LARGE,
    'depth': replace(LARGE, lora_rank=2),
    'infrared': replace(LARGE, lora_rank=2),
    'audio': replace(LARGE, image_size=(112, 1036)),
}


def open_encoders(
    model: str, dtype: torch.dtype, *, device: str = 'cpu', batch: int = 1
) -> tuple[Mapping[str, Encoder], dict[str, Tensor]]:
    """Return the encoders of a set, or random encoders, and `batch` inputs for each."""
    if not model.startswith(RANDOM):
        loaded = load_encoders(parse_source(model), device=device, dtype=dtype).encoders
        inputs = {
            m: e.preprocess(golden_input(m, e.config))[0].unsqueeze(0) for m, e in loaded.items()
        }
        return loaded, {m: x.repeat(batch, *[1] * (x.ndim - 1)) for m, x in inputs.items()}
    shapes = {m: replace(config, layers=layers_of(model)) for m, config in SHAPES.items()}
    towers = random_towers(shapes, dtype, device=device)
    encoders = {
        m: TowerEncoder(tower, released_config(m, tower.config, {})) for m, tower in towers.items()
    }
    inputs = {m: torch.randn(batch, 3, *SHAPES[m].image_size) for m in SHAPES}
    return encoders, {m: x.to(device) for m, x in inputs.items()}


def random_towers(
    shapes: Mapping[str, VisionConfig], dtype: torch.dtype, *, device: str, shared: bool = True
) -> dict[str, VisionTower]:
    """Return towers with random weights, which share their trunk unless `shared` is False."""
    torch.manual_seed(0)
    towers: dict[str, VisionTower] = {}
    for modality, config in shapes.items():
        tower = VisionTower(config)
        for name, parameter in tower.named_parameters():
            if name.endswith('lora_B'):
                nn.init.normal_(parameter, std=0.02)
        towers[modality] = tower.to(device, dtype).eval().requires_grad_(False)
        if shared:
            tie(towers)  # after each tower, so that at most two complete towers are in memory
    return towers


def open_clip_tower(model: str, dtype: torch.dtype, *, device: torch.device) -> nn.Module:
    """Return an image tower of OpenCLIP with the shape of the random model and random weights."""
    from open_clip.transformer import VisionTransformer

    with unfilled():
        tower = VisionTransformer(
            image_size=LARGE.image_size[0],
            patch_size=LARGE.patch_size,
            width=LARGE.width,
            layers=layers_of(model),
            heads=LARGE.heads,
            mlp_ratio=LARGE.mlp_width / LARGE.width,
            output_dim=LARGE.projection,
        )
    placed: nn.Module = tower.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for parameter in placed.parameters():
        nn.init.normal_(parameter, std=0.02)
    return placed


def layers_of(model: str) -> int:
    """Return the number of layers of `random:vit-l-14` or `random:vit-l-14:LAYERS`."""
    return int(model.removeprefix(f'{RANDOM}:')) if model != RANDOM else LARGE.layers
