"""Video clips of a live camera: stacks of images, each of which is preprocessed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor


class FrameStore:
    """Preprocessed images of one camera, by stamp. Not thread-safe."""

    def __init__(self) -> None:
        self._what: Hashable = None
        self._frames: dict[int, Tensor] = {}

    def __contains__(self, stamp_ns: object) -> bool:
        return stamp_ns in self._frames

    def keep(self, stamps_ns: Iterable[int], *, what: Hashable) -> None:
        """Keep only these images, and only if they were preprocessed in the way `what`."""
        wanted = set(stamps_ns) if what == self._what else set()
        self._what = what
        self._frames = {stamp: frame for stamp, frame in self._frames.items() if stamp in wanted}

    def add(self, stamp_ns: int, frame: Tensor) -> None:
        """Store a preprocessed image, float `[3, H, W]`."""
        self._frames[stamp_ns] = frame

    def clip(self, stamps_ns: Sequence[int]) -> Tensor:
        """A clip `[3, T, H, W]` of stored images; a stamp may occur several times."""
        return torch.stack([self._frames[stamp] for stamp in stamps_ns], dim=1)
