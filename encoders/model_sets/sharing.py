"""Holds equal tensors of several checkpoints once in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Key = tuple[tuple[int, ...], torch.dtype, bytes]


@dataclass
class TensorPool:
    """Frozen parameters by value: equal tensors give the same parameter.

    Tensors that encoders share are found by comparison, not assumed.

    Attributes:
        device, dtype: Device and dtype of the parameters.
        saved_bytes: Additional memory that separate copies would take, bytes.
        held_bytes: Memory of the parameters, bytes.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    saved_bytes: int = 0
    held_bytes: int = 0
    _known: dict[Key, nn.Parameter] = field(default_factory=dict, repr=False)

    def share(self, tensor: Tensor) -> nn.Parameter:
        """The frozen parameter for `tensor`, the same one for all equal tensors."""
        key = (tuple(tensor.shape), tensor.dtype, digest(tensor))
        known = self._known.get(key)
        if known is not None:
            self.saved_bytes += known.nbytes
            return known
        # A copy, so that the file of the tensor does not stay mapped.
        placed = tensor.detach().to(self.device, self.dtype, copy=True).contiguous()
        parameter = nn.Parameter(placed, requires_grad=False)
        self._known[key] = parameter
        self.held_bytes += parameter.nbytes
        return parameter


def digest(tensor: Tensor) -> bytes:
    """SHA-256 of a tensor's values in its own dtype."""
    plain = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).digest()
