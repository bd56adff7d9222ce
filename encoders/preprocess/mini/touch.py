"""Tactile images (GelSight, DIGIT): difference of an image of the gel from the untouched gel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.preprocess.upload import upload

GRID = 8  # cells per side of the reference; light behind a gel varies slowly
ZERO = 128  # stored value of a difference of 0


@dataclass(frozen=True, slots=True)
class TouchConfig:
    """Size in pixels, the untouched gel, and the standard deviation of the difference from it.

    Attributes:
        size: Rows and columns of the input.
        reference: The image without contact as `GRID * GRID * 3` values 0..255 in row-major
            order, from `reference_of`. If empty, the median colour of each image is used, which
            suits a gel that is lit evenly and mostly untouched.
        std: Standard deviation of differences, in 0..1.

    Raises:
        ValueError: The reference has the wrong length.
    """

    size: int = 112
    reference: tuple[int, ...] = ()
    std: float = 0.1

    def __post_init__(self) -> None:
        if len(self.reference) not in (0, GRID * GRID * 3):
            raise ValueError(
                f'reference must be empty or {GRID * GRID * 3} values, not {len(self.reference)}'
            )

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.size, self.size


def reference_of(pictures: Sequence[NDArray[np.uint8]]) -> tuple[int, ...]:
    """The value of `TouchConfig.reference` for a sensor: the median of images without contact.

    Args:
        pictures: One or more images, uint8 `[H, W, 3]` RGB, of one size.

    Raises:
        ValueError: There are no images, or the shape or dtype of one is not supported.
    """
    if not len(pictures):
        raise ValueError('a reference needs at least one picture without contact')
    for picture in pictures:
        _check(picture)
    median = np.median(np.stack(pictures), axis=0).astype(np.float32)
    cells = cv2.resize(median, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return tuple(int(value) for value in np.round(cells).ravel())


def to_unit(raw: NDArray[np.uint8], config: TouchConfig) -> NDArray[np.uint8]:
    """Half the difference from the untouched gel plus `ZERO`, uint8 `[size, size, 3]`.

    Raises:
        ValueError: The array is not uint8 `[H, W, 3]`.
    """
    _check(raw)
    side = (config.size, config.size)
    picture = cv2.resize(raw, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    if config.reference:
        cells = np.array(config.reference, np.float32).reshape(GRID, GRID, 3)
        untouched: NDArray[Any] = cv2.resize(cells, side, interpolation=cv2.INTER_CUBIC)
    else:
        untouched = np.median(picture, axis=(0, 1))
    halved = np.round((picture - untouched) / 2) + ZERO
    return np.asarray(np.clip(halved, 0, 255), np.uint8)


def stored_form(config: TouchConfig) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_unit`."""
    return (config.size, config.size, 3), np.uint8


def normalise(stored: Tensor, config: TouchConfig) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]`."""
    return ((stored.float() - ZERO) * 2 / 255 / config.std).movedim(-1, -3).contiguous()


def preprocess(
    raw: NDArray[np.uint8], config: TouchConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` on the device, and 1.0, because all pixels are valid."""
    return normalise(upload(to_unit(raw, config), device), config), 1.0


def _check(raw: NDArray[Any]) -> None:
    if raw.ndim != 3 or raw.shape[2] != 3 or raw.dtype != np.uint8:
        raise ValueError(
            f'a tactile image must be uint8 [H, W, 3], not {raw.dtype} {list(raw.shape)}'
        )
