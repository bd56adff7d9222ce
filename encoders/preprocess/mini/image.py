"""RGB images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.mini.area import shrink, shrinks_there
from encoders.preprocess.upload import upload


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Side of the input in pixels; mean and standard deviation per channel of values in 0..1."""

    size: int = 192
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)  # CLIP
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)  # CLIP

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.size, self.size


def to_unit(raw: NDArray[np.uint8], config: ImageConfig) -> NDArray[np.uint8]:
    """Resize to a square, uint8 `[size, size, 3]`, the form stored before training.

    Raises:
        ValueError: The array is not uint8 `[H, W, 3]`.
    """
    _check(raw)
    if raw.shape[:2] == (config.size, config.size):
        return raw
    resized = cv2.resize(raw, (config.size, config.size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _check(raw: NDArray[Any]) -> None:
    if raw.ndim != 3 or raw.shape[2] != 3 or raw.dtype != np.uint8:
        raise ValueError(f'an image must be uint8 [H, W, 3], not {raw.dtype} {list(raw.shape)}')


def shrunk(raw: NDArray[np.uint8], config: ImageConfig, device: str | torch.device) -> Tensor:
    """As `to_unit`, on a device in float32, for images larger than `size` on both sides."""
    _check(raw)
    planes = upload(raw, device).movedim(-1, 0).float()
    return shrink(planes, config.size).round().movedim(0, -1)


def stored_form(config: ImageConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (config.size, config.size, 3), np.uint8


def normalise(stored: Tensor, config: ImageConfig) -> Tensor:
    """Values 0..255 `[..., H, W, 3]` to float32 `[..., 3, H, W]`."""
    mean = torch.tensor(config.mean, device=stored.device) * 255
    std = torch.tensor(config.std, device=stored.device) * 255
    return ((stored.float() - mean) / std).movedim(-1, -3).contiguous()


def preprocess(
    raw: NDArray[np.uint8], config: ImageConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` on the device, and 1.0, because all pixels are valid."""
    if shrinks_there(raw.shape, config.size, device):
        return normalise(shrunk(raw, config, device), config), 1.0
    return normalise(upload(to_unit(raw, config), device), config), 1.0
