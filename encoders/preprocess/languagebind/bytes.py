"""PIL's bicubic resizing of bytes in PyTorch, as used by OpenCLIP's transform."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

A = -0.5  # parameter of the cubic kernel (Keys 1981)
SUPPORT = 2.0
BITS = 22  # precision of the fixed-point weights


def resize_bytes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 `[B, C, H, W]` to `[B, C, rows, columns]`: columns, rounding, then rows.

    Uses float64, which represents the fixed-point sums exactly, so that it runs on any device.
    """
    rows, columns = size
    across = _weights(planes.shape[-1], columns).to(planes.device)
    down = _weights(planes.shape[-2], rows).to(planes.device)
    wide = _rounded(planes.double() @ across.T)
    return _rounded(down @ wide).to(torch.uint8)


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + 2.0 ** (BITS - 1)) / 2.0**BITS).floor().clamp(0, 255)


@lru_cache(maxsize=16)
def _weights(before: int, after: int) -> Tensor:
    """Fixed-point weights, integers as float64 `[after, before]`."""
    scale = before / after
    wider = max(scale, 1.0)
    reach = SUPPORT * wider
    table = np.zeros((after, before))
    for row in range(after):
        centre = (row + 0.5) * scale
        first, last = max(0, int(centre - reach + 0.5)), min(before, int(centre + reach + 0.5))
        values = _cubic((np.arange(first, last) - centre + 0.5) / wider)
        scaled = values / values.sum() * 2**BITS
        table[row, first:last] = np.trunc(scaled + np.copysign(0.5, scaled))
    return torch.from_numpy(table)


def _cubic(distance: NDArray[Any]) -> NDArray[np.float64]:
    x = np.abs(distance)
    near = ((A + 2) * x - (A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * A
    return np.asarray(np.where(x < 1, near, np.where(x < 2, far, 0.0)))
