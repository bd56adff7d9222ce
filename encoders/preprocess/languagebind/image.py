"""RGB images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.languagebind import pixels
from encoders.preprocess.languagebind.bytes import resize_bytes
from encoders.preprocess.upload import upload


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Bicubic resize to a square of `size` pixels, then per-channel normalisation.

    Attributes:
        size: Side of the input, pixels.
        antialias: See `resize_and_crop`.
        round_to_bytes: Resize bytes to bytes and round between the two directions, as PIL and
            OpenCLIP's transform do (always with antialias). LanguageBind does not.
        mean, std: Statistics of values in 0..1.
    """

    size: int = pixels.SIZE
    antialias: bool = False
    round_to_bytes: bool = False
    mean: tuple[float, float, float] = pixels.MEAN
    std: tuple[float, float, float] = pixels.STD


def preprocess(
    raw: NDArray[np.uint8], config: ImageConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]`, and 1.0, because all pixels are valid.

    Args:
        raw: uint8 `[H, W, 3]` RGB, `[H, W, 4]` RGBA (alpha is dropped) or `[H, W]` grey.
        config: Preprocessing constants.
        device: Device of the computation.

    Raises:
        ValueError: The shape or dtype of the array is not supported.
    """
    return image_inputs(as_planes(raw, device=device), config)[0], 1.0


def as_planes(raw: NDArray[Any], *, device: str | torch.device) -> Tensor:
    """An image as uint8 `[1, 3, H, W]`.

    Raises:
        ValueError: See `preprocess`.
    """
    grey = raw[..., None] if raw.ndim == 2 else raw
    if grey.ndim != 3 or grey.shape[2] not in (1, 3, 4) or raw.dtype != np.uint8 or not raw.size:
        raise ValueError(f'an image must be uint8 [H, W, 3], not {raw.dtype} {list(raw.shape)}')
    return upload(grey[..., :3], device).permute(2, 0, 1).expand(3, -1, -1).unsqueeze(0)


def image_inputs(planes: Tensor, config: ImageConfig) -> Tensor:
    """uint8 `[B, 3, H, W]` to float32 `[B, 3, size, size]`."""
    if config.round_to_bytes:
        resized = resize_bytes(planes, pixels.scaled_size(planes, config.size))
        share = pixels.centre_crop(resized, config.size).float() / 255
    else:
        share = pixels.resize_and_crop(
            planes.float() / 255, size=config.size, antialias=config.antialias
        )
    return pixels.normalise(share, mean=config.mean, std=config.std)
