"""Modules before their weights are read: shapes, without memory and without values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def unfilled() -> Iterator[None]:
    """What is made in here lies on the meta device; nothing is drawn for it.

    Of that device, random values are decomposed in Python, and importing what does it takes two
    seconds and 300 MB.
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
