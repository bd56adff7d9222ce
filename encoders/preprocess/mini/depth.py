"""Depth images: uint16 millimetres or float32 metres; 0, NaN and infinity are holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.mini.area import shrink, shrinks_there
from encoders.preprocess.upload import upload_as_float

MIN_DEPTH_M = 0.05
MAX_SLOPE = 3.0


@dataclass(frozen=True, slots=True)
class DepthConfig:
    """Constants of depth preprocessing.

    When the image is resized, holes are filled with the mean of the valid pixels around them, or
    with `max_depth_m` if there are none.

    Attributes:
        size: Side of the input, pixels.
        max_depth_m: Depth is clipped to 0..`max_depth_m`.
        mean, std: Mean and standard deviation of depth / `max_depth_m`.
        slopes: Use depth and the horizontal and vertical slope of the surface as the three
            channels, instead of depth three times. Slopes distinguish the top of a drawer from
            its front at any distance (compare HHA, Gupta et al. 2014, "Learning rich features
            from RGB-D images").
    """

    size: int = 192
    max_depth_m: float = 3.0
    mean: float = 0.4
    std: float = 0.25
    slopes: bool = False

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.size, self.size


def to_unit(raw: NDArray[Any], config: DepthConfig) -> tuple[NDArray[np.uint16], float]:
    """Resize to a square of uint16 millimetres without holes; also returns the valid share.

    Raises:
        ValueError: The array is neither uint16 nor float `[H, W]`.
    """
    _check(raw)
    limited, valid = _limited(raw, config.max_depth_m)
    side = (config.size, config.size)
    # Depth and weight in one pass over the pixels.
    both = cv2.resize(cv2.merge([limited, valid]), side, interpolation=cv2.INTER_AREA)
    total, weight = both[..., 0], both[..., 1]
    far = np.full_like(total, config.max_depth_m)
    filled = np.divide(total, weight, out=far, where=weight > 1e-3)
    millimetres = np.clip(np.round(filled * 1000), 0, 65535).astype(np.uint16)
    return millimetres, cv2.countNonZero(valid) / raw.size


def _check(raw: NDArray[Any]) -> None:
    if raw.ndim != 2 or (raw.dtype != np.uint16 and raw.dtype.kind != 'f'):
        raise ValueError(
            f'a depth image must be uint16 millimetres or float metres [H, W], '
            f'not {raw.dtype} {list(raw.shape)}'
        )


def shrunk(
    raw: NDArray[Any], config: DepthConfig, device: str | torch.device
) -> tuple[Tensor, float]:
    """As `to_unit`, on a device in float32, for images larger than `size` on both sides."""
    _check(raw)
    metres = upload_as_float(raw, device)
    if raw.dtype == np.uint16:
        metres = metres * 1e-3
    valid = metres.isfinite() & (metres > 0)
    limited = torch.where(valid, metres.clamp(max=config.max_depth_m), metres.new_zeros(()))
    total, weight = shrink(torch.stack([limited, valid.float()]), config.size)
    far = total.new_tensor(config.max_depth_m)
    filled = torch.where(weight > 1e-3, total / weight, far)
    return (filled * 1000).round().clamp(0, 65535), float(valid.float().mean())


def _limited(
    raw: NDArray[Any], max_depth_m: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Metres up to a limit, 0 in holes; and a mask, 1 for valid pixels and 0 in holes."""
    metres = raw.astype(np.float32)
    if raw.dtype == np.uint16:
        metres *= 1e-3
    else:
        metres[~(np.isfinite(metres) & (metres > 0))] = 0
    valid = (metres > 0).astype(np.float32)
    return np.minimum(metres, max_depth_m, out=metres), valid


def stored_form(config: DepthConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (config.size, config.size), np.uint16


def normalise(stored: Tensor, config: DepthConfig) -> Tensor:
    """Millimetres `[..., H, W]` to float32 `[..., 3, H, W]`."""
    share = (stored.float() / (1000 * config.max_depth_m)).clamp(0, 1)
    plane = (share - config.mean) / config.std
    if config.slopes:
        metres = (stored.float() / 1000).clamp(min=MIN_DEPTH_M)
        return torch.stack([plane, _slope(metres, -1), _slope(metres, -2)], dim=-3)
    return plane.unsqueeze(-3).expand(*plane.shape[:-2], 3, *plane.shape[-2:])


def _slope(metres: Tensor, dim: int) -> Tensor:
    """Change of depth per distance in the image, clamped; same shape.

    A pixel covers about depth / side metres; exactly for an angle of view of 53 degrees.
    """
    last = metres.narrow(dim, metres.shape[dim] - 1, 1)
    change = torch.diff(metres, dim=dim, append=last)
    return (change * metres.shape[dim] / metres).clamp(-MAX_SLOPE, MAX_SLOPE)


def preprocess(
    raw: NDArray[Any], config: DepthConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` on the device, and the valid share."""
    if shrinks_there(raw.shape, config.size, device):
        on_device, valid = shrunk(raw, config, device)
        return normalise(on_device, config), valid
    stored, valid = to_unit(raw, config)
    return normalise(upload_as_float(stored, device), config), valid
