"""Raw arrays to the device that preprocesses them.

To a GPU they go as they came, as bytes or 16-bit counts, through memory that the GPU reads by
itself: a quarter or half of the bytes of float32, and the CPU does not wait.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What is converted on a GPU; everything else, also of another byte order, before.
CONVERTED_THERE = tuple(np.dtype(t) for t in ('uint8', 'int16', 'uint16', 'int32', 'float32'))


def upload(array: NDArray[Any], device: str | torch.device) -> Tensor:
    """A copy of an array on a device, of the same shape and dtype.

    Args:
        array: Of a dtype that torch has, in the byte order of this machine; may be read-only.
        device: Where to.
    """
    if torch.device(device).type != 'cuda':
        return torch.from_numpy(np.array(array)).to(device)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    pinned.numpy()[...] = array
    # It is not reused before the copy has ended: PyTorch notes what pinned memory is read by.
    return pinned.to(device, non_blocking=True)


def upload_as_float(array: NDArray[Any], device: str | torch.device) -> Tensor:
    """A copy of an array of numbers on a device, float32 of the same shape."""
    if torch.device(device).type != 'cuda' or array.dtype not in CONVERTED_THERE:
        return upload(np.array(array, np.float32), device)
    return widened(upload(array, device))


def widened(values: Tensor) -> Tensor:
    """float32 of any integer or float tensor.

    GPUs have few operations on uint16, so its bits are read as int16.
    """
    if values.dtype == torch.uint16:
        return values.view(torch.int16).to(torch.int32).bitwise_and(0xFFFF).float()
    return values.float()
