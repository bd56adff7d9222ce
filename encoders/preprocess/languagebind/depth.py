"""Depth images: integers are millimetres, floats are metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.languagebind import pixels
from encoders.preprocess.upload import upload_as_float

MIN_DEPTH_M = 0.01
HOLES = ('near', 'filled')


@dataclass(frozen=True, slots=True)
class DepthConfig:
    """Clip to `MIN_DEPTH_M`..`max_depth_m`, divide by `max_depth_m`, resize, normalise as CLIP.

    NaN means no measurement and is filled from the pixels around it (`fill_holes`), or with
    `max_depth_m` if the whole image is NaN. As in REP 118, +inf means out of range (far) and -inf
    too close (near).

    Attributes:
        size: Side of the input, pixels.
        antialias: See `resize_and_crop`.
        max_depth_m: Maximum depth, metres; 0 divides by the largest depth of each image instead.
        holes: Meaning of a depth of 0. `near`: clipped to `MIN_DEPTH_M`, as in LanguageBind,
            whose data have no holes. `filled`: no measurement, as sensors report it; filled as
            NaN is.
        mean, std: Statistics of values in 0..1.
    """

    size: int = pixels.SIZE
    antialias: bool = False
    max_depth_m: float = 10.0
    holes: str = 'near'
    mean: tuple[float, float, float] = pixels.MEAN
    std: tuple[float, float, float] = pixels.STD

    def __post_init__(self) -> None:
        if self.holes not in HOLES:
            raise ValueError(f'holes must be one of {HOLES}, not {self.holes!r}')
        if self.max_depth_m < 0:
            raise ValueError(f'max_depth_m must not be negative, but is {self.max_depth_m}')


def preprocess(
    raw: NDArray[Any], config: DepthConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` and the share of pixels with a measurement.

    Args:
        raw: `[H, W]` or `[H, W, 1]`; integers of at least 16 bits are millimetres (ROS `16UC1`),
            floats are metres (`32FC1`).
        config: Preprocessing constants.
        device: Device of the computation.

    Raises:
        ValueError: The shape or dtype of the array is not supported.
    """
    metres = as_metres(raw, device=device)
    valid = float(((metres > 0) & ~metres.isnan()).float().mean())
    return depth_inputs(metres.unsqueeze(0), config)[0], valid


def as_metres(raw: NDArray[Any], *, device: str | torch.device) -> Tensor:
    """Depth in metres, float32 `[H, W]`; invalid values are kept.

    Raises:
        ValueError: See `preprocess`.
    """
    plane = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
    whole = raw.dtype.kind in 'iu' and raw.dtype.itemsize >= 2
    if plane.ndim != 2 or not plane.size or not (whole or raw.dtype.kind == 'f'):
        raise ValueError(
            f'a depth image must be uint16 millimetres or float metres [H, W], '
            f'not {raw.dtype} {list(raw.shape)}'
        )
    values = upload_as_float(plane, device)
    return values / 1000 if whole else values


def depth_inputs(metres: Tensor, config: DepthConfig) -> Tensor:
    """Metres, float32 `[B, H, W]`, to float32 `[B, 3, size, size]`."""
    unknown = metres.isnan()
    if config.holes == 'filled':
        unknown = unknown | (metres == 0)
    far = config.max_depth_m or MIN_DEPTH_M
    if bool(unknown.any()):
        measured = metres.isfinite() & ~unknown
        metres = torch.where(unknown, pixels.fill_holes(metres, measured, otherwise=far), metres)
    limited = metres.clamp(min=MIN_DEPTH_M)
    if config.max_depth_m:
        share = limited.clamp(max=config.max_depth_m) / config.max_depth_m
    else:
        finite = torch.where(limited.isinf(), limited.new_zeros(()), limited)
        farthest = finite.flatten(1).amax(dim=1).clamp(min=MIN_DEPTH_M).view(-1, 1, 1)
        share = limited.minimum(farthest) / farthest
    square = pixels.resize_and_crop(
        share.unsqueeze(1), size=config.size, antialias=config.antialias
    )
    return pixels.normalise(square, mean=config.mean, std=config.std)
