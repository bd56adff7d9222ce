"""Keep equal tensors of several checkpoints once in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Key = tuple[tuple[int, ...], torch.dtype, bytes]


@dataclass
class TensorPool:
    """Frozen parameters by value: whoever asks for an equal tensor gets the same one.

    Which tensors LanguageBind's encoders share is found here by comparison, not assumed.

    Attributes:
        device, dtype: Of the parameters at work.
        saved_bytes: What separate copies would have taken more.
        held_bytes: What is held.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    saved_bytes: int = 0
    held_bytes: int = 0
    _known: dict[Key, nn.Parameter] = field(default_factory=dict, repr=False)

    def share(self, tensor: Tensor) -> nn.Parameter:
        """A frozen parameter that equals `tensor`, the same for all equal ones."""
        key = (tuple(tensor.shape), tensor.dtype, digest(tensor))
        known = self._known.get(key)
        if known is not None:
            self.saved_bytes += known.nbytes
            return known
        # A copy, so that nothing keeps the file it came from mapped.
        placed = tensor.detach().to(self.device, self.dtype, copy=True).contiguous()
        parameter = nn.Parameter(placed, requires_grad=False)
        self._known[key] = parameter
        self.held_bytes += parameter.nbytes
        return parameter


def digest(tensor: Tensor) -> bytes:
    """SHA-256 of a tensor's values in its own dtype."""
    plain = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).digest()
