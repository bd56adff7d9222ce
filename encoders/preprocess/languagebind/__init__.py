"""LanguageBind's preprocessing with its exact constants, one module per modality, torch alone.

Everything runs where `device` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from encoders.preprocess.languagebind import audio, depth, image, infrared, video
from encoders.vision.config import VisionConfig

Config = (
    image.ImageConfig
    | depth.DepthConfig
    | infrared.InfraredConfig
    | audio.AudioConfig
    | video.VideoConfig
)
MODALITIES: dict[str, tuple[type[Config], Callable[..., tuple[Tensor, float]]]] = {
    'image': (image.ImageConfig, image.preprocess),
    'depth': (depth.DepthConfig, depth.preprocess),
    'infrared': (infrared.InfraredConfig, infrared.preprocess),
    'audio': (audio.AudioConfig, audio.preprocess),
    'video': (video.VideoConfig, video.preprocess),
}


def released_config(modality: str, vision: VisionConfig, constants: dict[str, Any]) -> Config:
    """The configuration that belongs to a released checkpoint.

    Args:
        modality: Name.
        vision: Shape of its tower.
        constants: Its vision_config.

    Raises:
        ValueError: There is no such modality, or a value is out of range.
    """
    if modality not in MODALITIES:
        raise ValueError(f'LanguageBind has no {modality!r}, only {", ".join(MODALITIES)}')
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
    config: Config = MODALITIES[modality][0](**values)
    return config
