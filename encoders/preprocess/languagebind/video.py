"""Video clips of RGB images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.languagebind import pixels
from encoders.preprocess.upload import upload

SELECTIONS = ('uniform',)


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """Select frames, normalise, resize the shorter side, centre crop; clips are never flipped.

    Attributes:
        size: Side of the input, pixels.
        frames: Frames of the input.
        selection: `uniform`: evenly from the first to the last frame, both included, rounded down;
            a clip with fewer frames repeats some.
        antialias: Antialias the bilinear resizing; LanguageBind does not.
        mean, std: Statistics of values in 0..1.
    """

    size: int = pixels.SIZE
    frames: int = 8
    selection: str = 'uniform'
    antialias: bool = False
    mean: tuple[float, float, float] = pixels.MEAN
    std: tuple[float, float, float] = pixels.STD

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f'selection must be one of {SELECTIONS}, not {self.selection!r}')
        if self.frames < 1:
            raise ValueError(f'frames must be at least 1, not {self.frames}')


def preprocess(
    raw: NDArray[np.uint8], config: VideoConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, frames, size, size]`, and 1.0, because all pixels are valid.

    Args:
        raw: uint8 `[T, H, W, 3]` RGB, T >= 1.
        config: Preprocessing constants.
        device: Device of the computation.

    Raises:
        ValueError: The shape or dtype of the array is not supported.
    """
    if raw.ndim != 4 or raw.shape[3] != 3 or raw.dtype != np.uint8 or not raw.size:
        raise ValueError(f'a clip must be uint8 [T, H, W, 3], not {raw.dtype} {list(raw.shape)}')
    chosen = raw[frame_indices(len(raw), config.frames)]
    frames = upload(chosen, device).permute(0, 3, 1, 2)
    return video_inputs(frames, config).transpose(0, 1), 1.0


def preprocess_picture(
    raw: NDArray[np.uint8], config: VideoConfig, *, device: str | torch.device = 'cpu'
) -> Tensor:
    """Preprocess one image of a clip, float32 `[3, size, size]`, as `preprocess` does.

    Args:
        raw: uint8 `[H, W, 3]` RGB.
        config: Preprocessing constants.
        device: Device of the computation.

    Raises:
        ValueError: The shape or dtype of the array is not supported.
    """
    return preprocess(raw[None], replace(config, frames=1), device=device)[0][:, 0]


def frame_indices(available: int, wanted: int) -> NDArray[np.int64]:
    """Indices of `wanted` frames, evenly from first to last, rounded down."""
    return np.linspace(0, available - 1, wanted).astype(np.int64)


def video_inputs(frames: Tensor, config: VideoConfig) -> Tensor:
    """Frames uint8 `[T, 3, H, W]` to float32 `[T, 3, size, size]`."""
    planes = pixels.normalise(frames.float() / 255, mean=config.mean, std=config.std)
    return pixels.resize_and_crop(
        planes, size=config.size, mode='bilinear', antialias=config.antialias
    )
