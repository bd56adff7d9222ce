"""Infrared images (LanguageBind's thermal): grey bytes, or counts of a radiometric camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.options import ImageOptions
from encoders.decode.temperature import Objection, temperature_objection
from encoders.preprocess.languagebind import pixels
from encoders.preprocess.languagebind.image import as_planes
from encoders.preprocess.upload import upload_as_float

STRETCHES = ('frame', 'fixed')


@dataclass(frozen=True, slots=True)
class InfraredConfig:
    """Bytes are used unchanged; all other types are first scaled to 0..1, where hot is bright.

    LanguageBind was trained on grey images without a temperature scale, stretched per image,
    which is the default. With `fixed`, the same grey always means the same temperature.

    Attributes:
        size: Side of the input, pixels.
        antialias: See `resize_and_crop`.
        stretch: Scaling of counts (mono16) or floats (kelvin, degrees) to 0..1. `frame`: from the
            lowest to the highest value of each image, without the share `tails` at either end.
            `fixed`: from `low` to `high`.
        tails: Share of the pixels, 0 to below 0.5.
        low, high: Range of `fixed`, in the units of the array. The defaults are centikelvin.
        mean, std: Statistics of values in 0..1.
    """

    size: int = pixels.SIZE
    antialias: bool = False
    stretch: str = 'frame'
    tails: float = 0.005
    low: float = 28300.0
    high: float = 48300.0
    mean: tuple[float, float, float] = pixels.MEAN
    std: tuple[float, float, float] = pixels.STD

    def __post_init__(self) -> None:
        if self.stretch not in STRETCHES:
            raise ValueError(f'stretch must be one of {STRETCHES}, not {self.stretch!r}')
        if not 0 <= self.tails < 0.5:
            raise ValueError(f'tails must be in [0, 0.5), not {self.tails}')
        if self.low >= self.high:
            raise ValueError(f'low {self.low} must be less than high {self.high}')


def preprocess(
    raw: NDArray[Any], config: InfraredConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` and the share of live pixels.

    Args:
        raw: uint8 `[H, W]` or `[H, W, 3]`; uint16 counts or float temperatures `[H, W]`. Counts of
            0 and values that are not finite are dead pixels, filled from the pixels around them.
        config: Preprocessing constants.
        device: Device of the computation.

    Raises:
        ValueError: The shape or dtype of the array is not supported.
    """
    if raw.dtype == np.uint8:
        planes, valid = as_planes(raw, device=device).float() / 255, 1.0
    else:
        counts, alive = _counts(raw, device=device)
        planes = stretched(counts.unsqueeze(0), alive.unsqueeze(0), config).unsqueeze(1)
        valid = float(alive.float().mean())
    square = pixels.resize_and_crop(planes, size=config.size, antialias=config.antialias)
    return pixels.normalise(square, mean=config.mean, std=config.std)[0], valid


def objection(
    raw: NDArray[Any], config: InfraredConfig, options: ImageOptions
) -> Objection | None:
    """Why an image does not count as evidence; None if it counts.

    With `frame`, as in LanguageBind's training, the network never sees a temperature scale, so
    8-bit images are valid. With `fixed`, bytes have no place on the scale; the user who sets `low`
    and `high` is responsible for the meaning of counts.
    """
    is_grey = config.stretch == 'fixed' and raw.dtype == np.uint8
    return temperature_objection(raw, options) if is_grey else None


def stretched(counts: Tensor, alive: Tensor, config: InfraredConfig) -> Tensor:
    """Scale counts float32 `[B, H, W]` to 0..1; `alive` is the bool mask of valid pixels."""
    if not bool(alive.all()):
        counts = pixels.fill_holes(counts, alive, otherwise=config.low)
    if config.stretch == 'fixed':
        low, span = counts.new_tensor(config.low), counts.new_tensor(config.high - config.low)
    else:
        # kthvalue, because quantile refuses more than 16 million elements.
        flat, last = counts.flatten(1), counts[0].numel() - 1
        tail = int(config.tails * last)
        low = flat.kthvalue(1 + tail, dim=1).values.view(-1, 1, 1)
        high = flat.kthvalue(1 + last - tail, dim=1).values.view(-1, 1, 1)
        span = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return ((counts - low) / span).clamp(0, 1)


def _counts(raw: NDArray[Any], *, device: str | torch.device) -> tuple[Tensor, Tensor]:
    plane = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
    if plane.ndim != 2 or not plane.size or not (raw.dtype == np.uint16 or raw.dtype.kind == 'f'):
        raise ValueError(
            f'an infrared image must be uint8, uint16 or float [H, W], '
            f'not {raw.dtype} {list(raw.shape)}'
        )
    counts = upload_as_float(plane, device)
    return counts, counts > 0 if raw.dtype == np.uint16 else counts.isfinite()
