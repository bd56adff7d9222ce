"""Attention of a readout, drawn over the image that it belongs to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

OPACITY = 0.75
RING = (255, 255, 255), (0, 0, 0)  # around the peak, inner and outer


def draw_heat(
    picture: NDArray[np.uint8], attention: NDArray[np.float32], *, central_square: bool = False
) -> NDArray[np.uint8]:
    """Draw a heat map over an image, uint8 BGR `[H, W, 3]`; a ring marks the peak.

    The image turns grey, so that only the heat is coloured. Cells with no more than an equal share
    of the attention stay uncoloured.

    Args:
        picture: uint8 BGR `[H, W, 3]`.
        attention: Shares of the attention, float32 `[rows, columns]`.
        central_square: The map covers the central square of the image, not the whole image.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    drawn = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    top, left, height, width = covered(picture.shape[:2], central_square=central_square)
    heat = _above_equal_share(attention)
    large = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((large * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (OPACITY * np.sqrt(large))[..., None]
    part = drawn[top : top + height, left : left + width]
    part[:] = (part * (1 - share) + colours * share).astype(np.uint8)
    if heat.max() > 0:
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        rows, columns = heat.shape
        centre = (
            left + round((column + 0.5) * width / columns),
            top + round((row + 0.5) * height / rows),
        )
        radius = max(3, round(0.75 * min(width / columns, height / rows)))
        for colour, thickness in zip(RING, (3, 1), strict=True):
            cv2.circle(drawn, centre, radius, colour, thickness, cv2.LINE_AA)
    return drawn


def covered(shape: tuple[int, int], *, central_square: bool) -> tuple[int, int, int, int]:
    """Top, left, height and width, in pixels, of the part of an image that a map covers."""
    height, width = shape
    if not central_square:
        return 0, 0, height, width
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _above_equal_share(attention: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 at the mean or below, 1 at the peak; all 0 if no cell exceeds the mean."""
    mean, peak = float(attention.mean()), float(attention.max())
    if not peak > mean + 1e-9:
        return np.zeros(attention.shape, np.float32)
    return np.asarray(np.clip((attention - mean) / (peak - mean), 0, 1), np.float32)
