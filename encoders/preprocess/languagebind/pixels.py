"""Shared by image, depth, infrared and video: resize, crop, CLIP's mean and deviation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# CLIP's statistics; LanguageBind uses them for every modality except audio.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZE = 224


def resize_and_crop(
    planes: Tensor, *, size: int, mode: str = 'bicubic', antialias: bool = False
) -> Tensor:
    """Resize the shorter side to `size` and crop the centre: `[B, C, size, size]`.

    Args:
        planes: float `[B, C, H, W]`.
        size: Side of the square, pixels.
        mode: `bicubic` or `bilinear`.
        antialias: Widen the filter when shrinking. LanguageBind's published numbers were computed
            with a version of torchvision that did not.
    """
    rows, columns = scaled_size(planes, size)
    if (rows, columns) != tuple(planes.shape[-2:]):
        planes = F.interpolate(
            planes, size=(rows, columns), mode=mode, align_corners=False, antialias=antialias
        )
    return centre_crop(planes, size)


def scaled_size(planes: Tensor, size: int) -> tuple[int, int]:
    """(rows, columns) after resizing the shorter side to `size`; the longer is rounded down."""
    height, width = planes.shape[-2:]
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def centre_crop(planes: Tensor, size: int) -> Tensor:
    """The centre square of `[..., H, W]`; halves are rounded to even, as in torchvision."""
    top, left = (round((side - size) / 2) for side in planes.shape[-2:])
    return planes[..., top : top + size, left : left + size]


def normalise(planes: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """`(x - mean) / std` per channel: float `[B, 3 or 1, H, W]` to float32 `[B, 3, H, W]`."""
    shape = (1, 3, 1, 1)
    offset = torch.tensor(mean, device=planes.device).view(shape)
    scale = torch.tensor(std, device=planes.device).view(shape)
    return (planes.float() - offset) / scale


def fill_holes(values: Tensor, valid: Tensor, *, otherwise: float) -> Tensor:
    """Replace every invalid pixel by the mean of valid pixels around it, float `[B, H, W]`.

    The mean is over the smallest block of 2, 4, 8, ... pixels of side that contains a valid pixel,
    so that small holes are filled from nearby pixels and large ones from more distant ones.

    Args:
        values: float `[B, H, W]`; values of invalid pixels are ignored.
        valid: bool `[B, H, W]`.
        otherwise: Value for images without a valid pixel.
    """
    weight = valid.float().unsqueeze(1)
    zero = values.new_zeros(())
    total = torch.where(valid, values, zero).unsqueeze(1)
    filled = _pull(total, weight).squeeze(1)
    none = ~valid.flatten(1).any(dim=1).view(-1, 1, 1)
    filled = torch.where(none, values.new_full((), otherwise), filled)
    return torch.where(valid, values, filled)


def _pull(total: Tensor, weight: Tensor) -> Tensor:
    """Means of the smallest valid blocks, from sums and counts, `[B, 1, H, W]`."""
    mean = total / weight.clamp(min=1.0)
    height, width = total.shape[-2:]
    if max(height, width) == 1:
        return mean
    padding = (0, width % 2, 0, height % 2)
    sums, counts = (4 * F.avg_pool2d(F.pad(x, padding), 2) for x in (total, weight))
    coarse = _pull(sums, counts)
    coarse = coarse.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    return torch.where(weight > 0, mean, coarse[..., :height, :width])
