"""LanguageBind's preprocessing with its exact constants, one module per modality, torch alone.

Every module has a frozen configuration, stored with the model, and a function `preprocess(raw,
config, device=...)` that returns the network's input, float32 without the batch dimension, and the
share of the input that was valid. Nothing is random, and everything runs where `device` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from encoders.languagebind.configuration import VisionConfig
from encoders.languagebind.preprocess import audio, depth, image, infrared, video

Config = (
    image.ImageConfig
    | depth.DepthConfig
    | infrared.InfraredConfig
    | audio.AudioConfig
    | video.VideoConfig
)


@dataclass(frozen=True, slots=True)
class _Entry:
    config: type[Config]
    preprocess: Callable[..., tuple[Tensor, float]]


_ENTRIES: dict[str, _Entry] = {
    'image': _Entry(image.ImageConfig, image.preprocess),
    'depth': _Entry(depth.DepthConfig, depth.preprocess),
    'infrared': _Entry(infrared.InfraredConfig, infrared.preprocess),
    'audio': _Entry(audio.AudioConfig, audio.preprocess),
    'video': _Entry(video.VideoConfig, video.preprocess),
}


def preprocess(
    modality: str, raw: Any, config: Config, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """Preprocess one sample.

    Returns:
        float32 `[3, H, W]` (video: `[3, T, H, W]`) and the valid share of the input, 0..1.

    Raises:
        ValueError: The array has a shape or dtype that this modality does not take.
    """
    return _ENTRIES[modality].preprocess(raw, config, device=device)


def released_config(
    modality: str,
    vision: VisionConfig,
    constants: Mapping[str, Any],
    *,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration that belongs to a released checkpoint.

    Args:
        modality: Name.
        vision: Shape of its tower.
        constants: Its vision_config.
        options: Values that replace the released ones, by attribute.

    Raises:
        ValueError: There is no such modality or option, or a value is out of range.
    """
    if modality not in _ENTRIES:
        raise ValueError(f'LanguageBind has no {modality!r}, only {", ".join(_ENTRIES)}')
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
    return config_from_dict(modality, {**values, **(options or {})}, complete=False)


def config_from_dict(modality: str, values: Mapping[str, Any], *, complete: bool = True) -> Config:
    """The configuration of a modality from a manifest.

    Args:
        modality: Name.
        values: By attribute.
        complete: Refuse defaults for what is missing.

    Raises:
        ValueError: A key is unknown, or missing from a complete dictionary.
    """
    kind: Any = _ENTRIES[modality].config
    known = {field.name for field in fields(kind)}
    odd = sorted(set(values) ^ known if complete else set(values) - known)
    if odd:
        raise ValueError(f'preprocessing of {modality}: unknown or missing key {odd[0]!r}')
    config: Config = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return config
