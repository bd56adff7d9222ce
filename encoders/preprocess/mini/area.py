"""OpenCV's area resizing in PyTorch, for any device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def shrinks_there(shape: tuple[int, ...], size: int, device: str | torch.device) -> bool:
    """Whether an image `[H, W, ...]` is made smaller on a GPU; on a CPU, OpenCV does it."""
    return torch.device(device).type == 'cuda' and min(shape[:2]) > size


def shrink(planes: Tensor, size: int) -> Tensor:
    """Shrink float `[..., H, W]` to `[..., size, size]`; both sides must be at least `size`.

    Each pixel is the mean of the area it covers, as with `cv2.INTER_AREA`.
    """
    down, across = (_shares(side, size).to(planes.device) for side in planes.shape[-2:])
    return down @ planes @ across.T


@lru_cache(maxsize=16)
def _shares(before: int, after: int) -> Tensor:
    """Share of each new pixel that every old pixel covers, float32 `[after, before]`."""
    scale = before / after
    left = torch.arange(after, dtype=torch.float64)[:, None] * scale
    pixel = torch.arange(before, dtype=torch.float64)
    covered = torch.minimum(left + scale, pixel + 1) - torch.maximum(left, pixel)
    return (covered.clamp(min=0) / scale).float()
