"""Tactile images (GelSight, DIGIT): a picture of a gel from behind, against the gel untouched."""

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

GRID = 8  # the light behind a gel changes slowly: so many cells a side hold an untouched picture
ZERO = 128  # the stored value of no difference


@dataclass(frozen=True, slots=True)
class TouchConfig:
    """Size in pixels, the untouched gel, and the standard deviation of the difference from it.

    Attributes:
        size: Rows and columns of the input.
        reference: The picture without contact as `GRID * GRID * 3` values 0..255, row by row,
            from `reference_of`. Empty: the median colour of each picture itself, which fits a
            gel that is lit evenly and mostly untouched.
        std: Of differences, in 0..1.

    Raises:
        ValueError: The reference has another length.
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
    """What `TouchConfig.reference` is for a sensor: the median of pictures without contact.

    Args:
        pictures: uint8 `[H, W, 3]` RGB of one size, one or more.

    Raises:
        ValueError: There are none, or one is no such picture.
    """
    if not len(pictures):
        raise ValueError('a reference needs at least one picture without contact')
    for picture in pictures:
        _check(picture)
    median = np.median(np.stack(pictures), axis=0).astype(np.float32)
    cells = cv2.resize(median, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return tuple(int(value) for value in np.round(cells).ravel())


def to_unit(raw: NDArray[np.uint8], config: TouchConfig) -> NDArray[np.uint8]:
    """Half the difference from the untouched gel around `ZERO`, uint8 `[size, size, 3]`.

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
    """Shape and dtype of what `to_unit` gives."""
    return (config.size, config.size, 3), np.uint8


def normalise(stored: Tensor, config: TouchConfig) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]`."""
    return ((stored.float() - ZERO) * 2 / 255 / config.std).movedim(-1, -3).contiguous()


def preprocess(
    raw: NDArray[np.uint8], config: TouchConfig, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """float32 `[3, size, size]` on the device; a gel is always wholly valid."""
    return normalise(upload(to_unit(raw, config), device), config), 1.0


def _check(raw: NDArray[Any]) -> None:
    if raw.ndim != 3 or raw.shape[2] != 3 or raw.dtype != np.uint8:
        raise ValueError(
            f'a tactile image must be uint8 [H, W, 3], not {raw.dtype} {list(raw.shape)}'
        )
