"""LanguageBind encoders into training and back: as released folders and as one model set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.encoder import EncoderSet
from encoders.languagebind.architecture import VisionTower
from encoders.languagebind.configuration import (
    CONFIG,
    MODEL_TYPES,
    ReleasedConfig,
    TextConfig,
    VisionConfig,
    read_config,
)
from encoders.languagebind.released import LanguageBindEncoder, ReleasedTensors, vision_shapes
from encoders.languagebind.store import convert, read_store
from encoders.languagebind.text import ClipText, from_open_clip
from encoders.sources import Source, find_set
from train.atomic import atomic_file, write_atomically
from train.languagebind import PEFT, Lora, released_tensors, trainable_tower


@dataclass(frozen=True, slots=True)
class Start:
    """An encoder before training.

    Attributes:
        tensors: Its own.
        preprocess: Constants of its preprocessing.
    """

    tensors: ReleasedTensors
    preprocess: Mapping[str, Any]


def released_start(
    start: Source, found: EncoderSet, modalities: Sequence[str]
) -> dict[str, Start]:
    """The tensors that a loaded set's encoders start from, by modality."""
    text = found.text
    assert isinstance(text, ClipText)
    config = _text_config(start, modalities)
    named = from_open_clip(config, {k: v.detach() for k, v in text.module.state_dict().items()})
    begun = {}
    for name in modalities:
        encoder = found.encoders[name]
        assert isinstance(encoder, LanguageBindEncoder)
        vision = encoder.tower.config
        released = ReleasedConfig(modality=name, vision=vision, text=config, constants={})
        where = Path(str(start[name] if isinstance(start, Mapping) else start))
        tensors = ReleasedTensors(where, released, encoder.tower.state_dict(), named, text.space)
        begun[name] = Start(tensors, asdict(encoder.config))
    return begun


def _text_config(start: Source, modalities: Sequence[str]) -> TextConfig:
    if isinstance(start, Mapping):
        path = Path(start[modalities[0]])
        return read_config(path.parent if path.is_file() else path).text
    if str(start).startswith('openclip:'):
        raise ValueError(f'{start}: give a LanguageBind image checkpoint as the start instead')
    return TextConfig(**read_store(find_set(start)).values['text'])


def unreleased_tower(start: Start, *, lora: Lora | None) -> VisionTower:
    """A tower in training (see `train.languagebind.trainable_tower`)."""
    return trainable_tower(start.tensors, lora=lora)


def save_languagebind(
    folder: Path,
    begun: Mapping[str, Start],
    modules: Mapping[str, nn.Module],
    *,
    name: str,
    lora: Lora | None,
    provenance: Mapping[str, Any],
) -> Path:
    """Write one released folder per modality and a model set of all; returns that of the set."""
    folders = {}
    for modality, module in modules.items():
        assert isinstance(module, VisionTower)
        start = begun[modality].tensors
        own = folder / 'released' / modality
        own.mkdir(parents=True, exist_ok=True)
        vision = replace(
            start.config.vision,
            lora_rank=lora.rank if lora else 0,
            lora_alpha=lora.alpha if lora else start.config.vision.lora_alpha,
        )
        described = released_config(modality, vision, start.config.text)
        write_atomically(own / CONFIG, (json.dumps(described, indent=2) + '\n').encode())
        tensors = {k: v.cpu() for k, v in released_tensors(module, start.text).items()}
        tensors |= _untrained_updates(vision, tensors)
        _save_tensors(own / 'pytorch_model.bin', tensors)
        folders[modality] = own
    options = {modality: start.preprocess for modality, start in begun.items()}
    for old in folder.glob('*.*'):  # a set that an earlier run wrote
        if old.name in ('manifest.json', 'weights.safetensors'):
            old.unlink()
    return convert(folders, folder, name=name, options=options, provenance=provenance)


def _untrained_updates(vision: VisionConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for the projections that had no low-rank update: a checkpoint holds all four."""
    missing = {}
    for name, shape in vision_shapes(vision).items():
        if name.endswith(('.lora_A', '.lora_B')):
            full = f'vision_model.{name.replace("encoder.", PEFT, 1)}.default.weight'
            if full not in tensors:
                missing[full] = torch.zeros(shape)
    return missing


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with atomic_file(path) as file:
        torch.save(dict(tensors), file)


def released_config(modality: str, vision: VisionConfig, text: TextConfig) -> dict[str, Any]:
    """A config.json as LanguageBind releases it."""
    model = next(name for name, known in MODEL_TYPES.items() if known == modality)
    clip = {'clip_type': 'vl_new', 'tube_size': 1} if vision.per_frame else {}
    sound = modality == 'audio'
    size = {'num_mel_bins': vision.image_size[0], 'target_length': vision.image_size[1]}
    return {
        'architectures': [model],
        'model_type': model,
        'projection_dim': vision.projection,
        'vision_config': {
            **_transformer(vision),
            'patch_size': vision.patch_size,
            'image_size': vision.image_size[0] if vision.image_size[0] == vision.image_size[1]
            else list(vision.image_size),
            **(size if sound else {}),
            'num_channels': vision.channels,
            'num_frames': vision.frames,
            'add_time_attn': vision.temporal,
            'force_patch_dropout': vision.patch_dropout,
            'lora_r': vision.lora_rank,
            'lora_alpha': vision.lora_alpha,
            **clip,
        },
        'text_config': {
            **_transformer(text),
            'vocab_size': text.vocabulary,
            'max_position_embeddings': text.context,
        },
    }  # fmt: skip


def _transformer(shape: VisionConfig | TextConfig) -> dict[str, Any]:
    return {
        'hidden_size': shape.width,
        'num_hidden_layers': shape.layers,
        'num_attention_heads': shape.heads,
        'intermediate_size': shape.mlp_width,
        'hidden_act': shape.activation,
        'layer_norm_eps': shape.layer_norm_eps,
    }
