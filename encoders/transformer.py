"""Helpers for vision and text transformers: shape checks, and modules without values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

ACTIVATIONS = ('gelu', 'quick_gelu')


def check_transformer(width: int, heads: int, activation: str) -> None:
    """Raise ValueError if a transformer cannot have this shape."""
    if heads < 1 or width % heads:
        raise ValueError(f'width {width} is not divisible by {heads} heads')
    if activation not in ACTIVATIONS:
        raise ValueError(f'hidden_act must be one of {ACTIVATIONS}, not {activation!r}')


@contextmanager
def unfilled() -> Iterator[None]:
    """Create modules on the meta device, without memory and without random values.

    Random initialisation on the meta device imports PyTorch's Python decompositions, which takes
    2 s and 300 MB.
    """
    with torch.device('meta'), _Uninitialised():
        yield


class _Uninitialised(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, '__module__', None) == 'torch.nn.init':
            return named['tensor'] if 'tensor' in named else args[0]
        return func(*args, **named)
