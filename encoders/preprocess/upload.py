"""Uploads raw arrays to the device that preprocesses them.

Arrays go to a GPU in their original type (bytes or 16-bit counts) through pinned memory. This
takes a quarter or half of the bytes of float32, and the CPU does not wait.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Types that are converted on the GPU; others, and other byte orders, are converted before.
CONVERTED_THERE = tuple(np.dtype(t) for t in ('uint8', 'int16', 'uint16', 'int32', 'float32'))


def upload(array: NDArray[Any], device: str | torch.device) -> Tensor:
    """A copy of an array on a device, of the same shape and dtype.

    Args:
        array: Array of a dtype of PyTorch, in native byte order; may be read-only.
        device: Target device.
    """
    if torch.device(device).type != 'cuda':
        return torch.from_numpy(np.array(array)).to(device)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    pinned.numpy()[...] = array
    # PyTorch tracks readers of pinned memory and does not reuse it before the copy has ended.
    return pinned.to(device, non_blocking=True)


def upload_as_float(array: NDArray[Any], device: str | torch.device) -> Tensor:
    """A copy of an array on a device as float32, of the same shape."""
    if torch.device(device).type != 'cuda' or array.dtype not in CONVERTED_THERE:
        return upload(np.array(array, np.float32), device)
    return widened(upload(array, device))


def widened(values: Tensor) -> Tensor:
    """Convert any integer or float tensor to float32.

    GPUs have few operations on uint16, so its bits are read as int16.
    """
    if values.dtype == torch.uint16:
        return values.view(torch.int16).to(torch.int32).bitwise_and(0xFFFF).float()
    return values.float()
