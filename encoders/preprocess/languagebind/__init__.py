"""LanguageBind's preprocessing with its exact constants, one module per modality.

Written in PyTorch; everything runs on the given device.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from encoders.preprocess.languagebind import audio, depth, image, infrared, video

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
