"""Infrared images: uint16 counts of a radiometric camera, or uint8 of any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.options import ImageOptions
from encoders.decode.temperature import Objection, temperature_objection
from encoders.preprocess.mini.area import shrink, shrinks_there
from encoders.preprocess.upload import upload_as_float


@dataclass(frozen=True, slots=True)
class InfraredConfig:
    """Side in pixels; `low_count`..`high_count` maps to 0..1; mean and std of the result.

    The defaults are centikelvin (FLIR Lepton "TLinear", 0.01 K per count), 283 K to 483 K. The
    scale is fixed and not stretched per image, so that the same value always means the same
    temperature. uint8 images show no temperature; 0..255 maps to 0..1. They are encoded but do
    not count as evidence (see `objection`).

    Objects at rest differ by one or two kelvin, a hundredth of that scale. Two of the three
    planes therefore show `fine_low_count`..`fine_high_count` as -1..1; if both are 0, all three
    planes are equal.
    """

    size: int = 192
    low_count: float = 28300.0
    high_count: float = 48300.0
    mean: float = 0.1
    std: float = 0.15
    fine_low_count: float = field(default=0.0, metadata={'later': True})
    fine_high_count: float = field(default=0.0, metadata={'later': True})

    def __post_init__(self) -> None:
        if self.fine_high_count < self.fine_low_count:
            raise ValueError('infrared: fine_high_count is less than fine_low_count')

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.size, self.size


def to_unit(raw: NDArray[Any], config: InfraredConfig) -> NDArray[np.uint16]:
    """Resize to a square of uint16 counts; zero counts are dead pixels and get the median.

    Raises:
        ValueError: The array is neither uint8 nor uint16 `[H, W]`.
    """
    _check(raw)
    counts = raw.astype(np.float32)
    if raw.dtype == np.uint8:
        counts *= np.float32((config.high_count - config.low_count) / 255)
        counts += np.float32(config.low_count)
    elif not raw.all():
        known = raw[raw > 0]
        counts[raw == 0] = np.median(known) if known.size else config.low_count
    if counts.shape != (config.size, config.size):
        shrink = min(counts.shape) > config.size
        how = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        counts = cv2.resize(counts, (config.size, config.size), interpolation=how)
    return np.clip(np.round(counts), 0, 65535).astype(np.uint16)


def _check(raw: NDArray[Any]) -> None:
    if raw.ndim != 2 or raw.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f'an infrared image must be uint8 or uint16 [H, W], not {raw.dtype} {list(raw.shape)}'
        )


def shrunk(raw: NDArray[Any], config: InfraredConfig, device: str | torch.device) -> Tensor:
    """As `to_unit`, on a device in float32, for images larger than `size` on both sides."""
    _check(raw)
    counts = upload_as_float(raw, device)
    if raw.dtype == np.uint8:
        counts = counts * ((config.high_count - config.low_count) / 255) + config.low_count
    elif not raw.all():
        known = counts[counts > 0]
        dead = known.quantile(0.5) if len(known) else counts.new_tensor(config.low_count)
        counts = torch.where(counts > 0, counts, dead)
    return shrink(counts, config.size).round().clamp(0, 65535)


def stored_form(config: InfraredConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (config.size, config.size), np.uint16


def normalise(stored: Tensor, config: InfraredConfig) -> Tensor:
    """Counts `[..., H, W]` to float32 `[..., 3, H, W]`."""
    span = config.high_count - config.low_count
    share = ((stored.float() - config.low_count) / span).clamp(0, 1)
    plane = (share - config.mean) / config.std
    fine_span = config.fine_high_count - config.fine_low_count
    if not fine_span:
        return plane.unsqueeze(-3).expand(*plane.shape[:-2], 3, *plane.shape[-2:])
    fine = ((stored.float() - config.fine_low_count) / fine_span).clamp(0, 1) * 2 - 1
    return torch.stack([plane, fine, fine], dim=-3)


def preprocess(
    raw: NDArray[Any], config: InfraredConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` on the device, and the share of live pixels."""
    valid = 1.0 if raw.dtype == np.uint8 else float((raw > 0).mean())
    if shrinks_there(raw.shape, config.size, device):
        return normalise(shrunk(raw, config, device), config), valid
    return normalise(upload_as_float(to_unit(raw, config), device), config), valid


def objection(
    raw: NDArray[Any], config: InfraredConfig, options: ImageOptions
) -> Objection | None:
    """Why an image does not count as evidence: it shows no temperatures. None if it does."""
    return temperature_objection(raw, options)
