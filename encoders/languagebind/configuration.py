"""Reads the config.json of a released checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError
from encoders.text.clip import TextConfig
from encoders.vision.config import LORA_ALPHA, VisionConfig

CONFIG = 'config.json'
# Image, depth and infrared have networks of the same shape.
MODEL_TYPES = {
    'LanguageBindImage': 'image',
    'LanguageBindDepth': 'depth',
    'LanguageBindThermal': 'infrared',
    'LanguageBindAudio': 'audio',
    'LanguageBindVideo': 'video',
}


@dataclass(frozen=True, slots=True)
class ReleasedConfig:
    """A config.json.

    Attributes:
        modality: Modality of `model_type`, or None if that names none.
        vision, text: Shapes of the towers.
        constants: The entries of vision_config, for preprocessing.
    """

    modality: str | None
    vision: VisionConfig
    text: TextConfig
    constants: dict[str, Any]


def read_config(folder: Path) -> ReleasedConfig:
    """Read a released config.json.

    Raises:
        ModelSetError: The file is missing or not JSON, or an entry is missing or wrong; the
            message names it.
    """
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text())
        projection = int(values['projection_dim'])
        modality = MODEL_TYPES.get(str(values.get('model_type')))
        vision = _vision(values['vision_config'], projection, video=modality == 'video')
        text = _text(values['text_config'], projection)
    except KeyError as error:
        raise ModelSetError(f'{path}: no key {error.args[0]!r}') from error
    except (OSError, TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error
    return ReleasedConfig(
        modality=modality,
        vision=vision,
        text=text,
        constants=dict(values['vision_config']),
    )


def _vision(values: Mapping[str, Any], projection: int, *, video: bool) -> VisionConfig:
    per_frame = values.get('clip_type') == 'vl_new'
    tube = int(values.get('tube_size') or 1)
    if per_frame and tube != 1:
        # The reference implementation divides by the number of frames, whatever the tube size.
        raise ValueError(f'tube_size {tube} is not defined, only 1')
    temporal = bool(values.get('add_time_attn', False))
    clips = video or temporal or per_frame
    return VisionConfig(
        **_transformer(values),
        patch_size=int(values['patch_size']),
        image_size=_image_size(values),
        projection=projection,
        channels=int(values.get('num_channels', 3)),
        frames=int(values.get('num_frames') or 1) if clips else 1,
        temporal=temporal,
        per_frame=per_frame,
        lora_rank=int(values.get('lora_r') or 0),
        lora_alpha=float(values.get('lora_alpha') or LORA_ALPHA),
        patch_dropout=float(values.get('force_patch_dropout') or 0.0),
    )


def _text(values: Mapping[str, Any], projection: int) -> TextConfig:
    return TextConfig(
        **_transformer(values),
        vocabulary=int(values['vocab_size']),
        context=int(values['max_position_embeddings']),
        projection=projection,
    )


def _transformer(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'width': int(values['hidden_size']),
        'layers': int(values['num_hidden_layers']),
        'heads': int(values['num_attention_heads']),
        'mlp_width': int(values['intermediate_size']),
        'activation': str(values['hidden_act']),
        'layer_norm_eps': float(values['layer_norm_eps']),
    }


def _image_size(values: Mapping[str, Any]) -> tuple[int, int]:
    """(rows, columns) of the spectrogram, if there is one, else of `image_size`, int or list."""
    mel, frames = int(values.get('num_mel_bins') or 0), int(values.get('target_length') or 0)
    if mel and frames:
        return mel, frames
    size = values['image_size']
    if isinstance(size, (list, tuple)):
        rows, columns = size
        return int(rows), int(columns)
    return int(size), int(size)
