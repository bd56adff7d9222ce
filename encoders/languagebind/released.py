"""Reads and checks released checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.errors import ModelSetError
from encoders.languagebind.checkpoint import Checkpoint, read_checkpoint
from encoders.languagebind.configuration import CONFIG, ReleasedConfig, read_config
from encoders.preprocess import Config, languagebind, with_options
from encoders.text.clip import check_tokenizer, text_shapes, text_space
from encoders.vision.config import VisionConfig
from encoders.vision.vit import vision_shapes

Options = Mapping[str, Mapping[str, Any]]
# In checkpoints, these two are next to the vision model, not in it.
OUTSIDE = ('visual_projection.weight', 'logit_scale')


@dataclass(frozen=True, slots=True)
class ReleasedTensors:
    """One checked checkpoint.

    Attributes:
        path: The file of weights.
        config: Its shapes, with the actual rank of its tensors.
        vision: Tensors by their name in `VisionTower`.
        text: Tensors by released name.
        space: Identity of its language space.
    """

    path: Path
    config: ReleasedConfig
    vision: dict[str, Tensor]
    text: dict[str, Tensor]
    space: str


def read_released(path: Path) -> ReleasedTensors:
    """Read and check one checkpoint.

    Raises:
        ModelSetError: A file or tensor is missing, unexpected or misshapen; the message names it.
    """
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise ModelSetError(f'{path}: there is no such checkpoint')
    config = read_config(folder)
    check_tokenizer(folder)
    checkpoint = read_checkpoint(path)
    rank = checkpoint.lora_rank(config.vision.lora_rank)
    config = replace(config, vision=replace(config.vision, lora_rank=rank))
    vision, text = _split(checkpoint, config)
    return ReleasedTensors(checkpoint.path, config, vision, text, text_space(config.text, text))


def preprocessing(
    modality: str, found: ReleasedTensors, options: Mapping[str, Any] | None = None
) -> Config:
    """The preprocessing configuration of a checkpoint for a modality.

    Raises:
        ModelSetError: The checkpoint is for another modality, or an option is invalid.
    """
    path = found.path.parent / CONFIG
    kind = found.config.modality or modality
    if kind != modality and {kind, modality} & {'audio', 'video'}:
        raise ModelSetError(f'{path}: is a checkpoint for {kind}, not for {modality}')
    try:
        config = released_config(modality, found.config.vision, found.config.constants)
        return with_options(modality, config, options or {})
    except (TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error


def released_config(
    modality: str, vision: VisionConfig, constants: dict[str, Any]
) -> languagebind.Config:
    """The preprocessing configuration of a released checkpoint.

    Args:
        modality: Name of the modality.
        vision: Shape of the vision tower.
        constants: The checkpoint's vision_config.

    Raises:
        ValueError: The modality is unknown, or a value is out of range.
    """
    if modality not in languagebind.MODALITIES:
        raise ValueError(
            f'LanguageBind has no {modality!r}, only {", ".join(languagebind.MODALITIES)}'
        )
    rows, columns = vision.image_size
    values: dict[str, Any]
    if modality == 'audio':
        values = {
            'rate_hz': int(constants.get('audio_sample_rate', 16_000)),
            'mel_bins': rows,
            'frames': columns,
            'mean': float(constants.get('audio_mean', -4.2677393)),
            'std': float(constants.get('audio_std', 4.5689974)),
        }
    else:
        if rows != columns:
            raise ValueError(f'{modality} is square, but image_size is {vision.image_size}')
        values = {'size': rows}
        if modality == 'depth':
            values['max_depth_m'] = float(constants.get('max_depth', 10.0))
        if modality == 'video':
            values['frames'] = vision.frames
    config: languagebind.Config = languagebind.MODALITIES[modality][0](**values)
    return config


def released_name(name: str) -> str:
    """The plain name in checkpoints of a tensor of `VisionTower`."""
    return name if name in OUTSIDE else f'vision_model.{name}'


def _split(
    checkpoint: Checkpoint, config: ReleasedConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    shapes = {released_name(name): shape for name, shape in vision_shapes(config.vision).items()}
    wanted_text: dict[str, torch.Size] = text_shapes(config.text)
    checkpoint.refuse_others(shapes.keys() | wanted_text.keys())
    tensors = checkpoint.take(shapes)
    vision = {name.removeprefix('vision_model.'): tensor for name, tensor in tensors.items()}
    return vision, checkpoint.take(wanted_text)
