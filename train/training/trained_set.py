"""Writing of trained towers as a model set, and in LanguageBind's released layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.atomic import atomic_file, write_atomically
from encoders.languagebind.configuration import CONFIG, MODEL_TYPES, read_config
from encoders.model_sets.encoder import TextTower
from encoders.model_sets.files import write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec, read_manifest
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import Source, is_released
from encoders.model_sets.towers import TowerEncoder
from encoders.text.clip import ClipText, TextConfig, from_open_clip
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower, vision_shapes
from train.training.languagebind import PEFT, Lora, released_tensors

RELEASED = 'released'
WEIGHTS = 'pytorch_model.bin'
Text = tuple[str | dict[str, Any], dict[str, Tensor]]


def text_of(start: Source, tower: TextTower) -> Text:
    """Manifest entry of the text tower, and its tensors if the model set stores them.

    Raises:
        ValueError: The start does not define the shape of its text tower.
    """
    if not isinstance(tower, ClipText):
        described = read_manifest(find_set(str(start))).manifest.text
        return described, {}
    if isinstance(start, Mapping):
        path = Path(next(iter(start.values())))
        config = read_config(path.parent if path.is_file() else path).text
    elif str(start).startswith('openclip:'):
        raise ValueError(f'{start}: give a LanguageBind image checkpoint as the start instead')
    elif is_released(start):
        config = read_config(Path(start)).text
    else:
        shape = read_manifest(find_set(start)).manifest.text
        assert isinstance(shape, dict)
        config = TextConfig(**shape)
    own = {k: v.detach().cpu() for k, v in tower.module.state_dict().items()}
    return asdict(config), from_open_clip(config, own)


def save_trained(
    folder: Path,
    modules: Mapping[str, nn.Module],
    encoders: Mapping[str, TowerEncoder],
    *,
    name: str,
    space: str,
    text: Text,
    lora: Lora | None,
    provenance: Mapping[str, Any],
) -> Path:
    """Write a model set; with a CLIP text tower, also one released folder per modality.

    Args:
        folder: Folder of the set; the released folders are written to `released/` in it.
        modules: Trained towers by modality.
        encoders: The encoders that the towers were loaded from.
        name: Name of the set.
        space: Language space.
        text: Result of `text_of`.
        lora: Configuration of the low-rank updates; None if there are none.
        provenance: Facts for the manifest.
    """
    described, words = text
    specs: dict[str, ModalitySpec] = {}
    vision: dict[str, dict[str, Tensor]] = {}
    for modality, module in modules.items():
        assert isinstance(module, VisionTower)
        config = replace(
            encoders[modality].tower.config,
            lora_rank=lora.rank if lora else 0,
            lora_alpha=lora.alpha if lora else encoders[modality].tower.config.lora_alpha,
        )
        specs[modality] = ModalitySpec(config, encoders[modality].config)
        vision[modality] = plain_tensors(config, module)
        if words:
            assert isinstance(described, dict)
            own = folder / RELEASED / modality
            _write_released(own, modality, config, TextConfig(**described), module, words)
    manifest = Manifest(name, space, described, specs, provenance=dict(provenance))
    write_set(folder, manifest, vision, text=words or None)
    return folder


def plain_tensors(config: VisionConfig, module: VisionTower) -> dict[str, Tensor]:
    """Tensors of a module by their names in a tower without peft.

    Projections without a low-rank update get one of zeros, because a checkpoint holds all four.
    """
    found = {}
    for name, tensor in module.state_dict().items():
        plain = name.replace('.base_layer.', '.').replace('.default.weight', '')
        found[plain] = tensor.detach().cpu()
    for name, shape in vision_shapes(config).items():
        if name not in found and '.lora_' in name:
            found[name] = torch.zeros(shape)
    return found


def _write_released(
    folder: Path,
    modality: str,
    vision: VisionConfig,
    text: TextConfig,
    module: VisionTower,
    words: Mapping[str, Tensor],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    described = json.dumps(released_config(modality, vision, text), indent=2)
    write_atomically(folder / CONFIG, (described + '\n').encode())
    tensors = {k: v.cpu() for k, v in released_tensors(module, words).items()}
    for name, tensor in plain_tensors(vision, module).items():
        if '.lora_' in name:
            full = f'vision_model.{name.replace("encoder.", PEFT, 1)}.default.weight'
            tensors.setdefault(full, tensor)
    with atomic_file(folder / WEIGHTS) as file:
        torch.save(tensors, file)


def released_config(modality: str, vision: VisionConfig, text: TextConfig) -> dict[str, Any]:
    """Content of a config.json in LanguageBind's released format."""
    model = next(name for name, known in MODEL_TYPES.items() if known == modality)
    rows, columns = vision.image_size
    clip = {'clip_type': 'vl_new', 'tube_size': 1} if vision.per_frame else {}
    sound = {'num_mel_bins': rows, 'target_length': columns} if modality == 'audio' else {}
    return {
        'architectures': [model],
        'model_type': model,
        'projection_dim': vision.projection,
        'vision_config': {
            **_transformer(vision),
            'patch_size': vision.patch_size,
            'image_size': rows if rows == columns else [rows, columns],
            'num_channels': vision.channels,
            'num_frames': vision.frames,
            'add_time_attn': vision.temporal,
            'force_patch_dropout': vision.patch_dropout,
            'lora_r': vision.lora_rank,
            'lora_alpha': vision.lora_alpha,
            **sound,
            **clip,
        },
        'text_config': {
            **_transformer(text),
            'vocab_size': text.vocabulary,
            'max_position_embeddings': text.context,
        },
    }


def _transformer(shape: VisionConfig | TextConfig) -> dict[str, Any]:
    return {
        'hidden_size': shape.width,
        'num_hidden_layers': shape.layers,
        'num_attention_heads': shape.heads,
        'intermediate_size': shape.mlp_width,
        'hidden_act': shape.activation,
        'layer_norm_eps': shape.layer_norm_eps,
    }
