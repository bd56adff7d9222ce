"""Regions that follow a topic: the newest box or mask, while it is new enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from encoders.decode.errors import DecodeError
from encoders.decode.image import decode_image
from encoders.decode.view import Place
from encoders.regions import BOX, Region

DEFAULT_MAX_AGE_MS = 500.0


class Followed:
    """Where a region is over time. Not thread-safe.

    Messages are dated by their arrival, as `RegionOfInterest` has no stamp: live by the clock of
    the node, offline by the time of recording.

    Args:
        region: The region; it may have a fixed crop.
        max_age_ms: Older messages do not count.

    Attributes:
        region: See above.
    """

    def __init__(self, region: Region, *, max_age_ms: float = DEFAULT_MAX_AGE_MS) -> None:
        self.region, self._max_age_ms = region, max_age_ms
        self._place, self._arrived_ns = Place(missing=f'no {region.follows} yet'), -math.inf

    def take(self, message: Any, now_ns: int) -> None:
        """Accept a message of the region's topic: `RegionOfInterest`, or an image as a mask."""
        self._arrived_ns = now_ns
        self._place = _box(message) if self.region.follows == BOX else _mask(message)

    def at(self, now_ns: int) -> Place:
        """Where the region is in an image that arrives now."""
        if self.region.crop is not None:
            return Place(crop=self.region.crop)
        age_ms = abs(now_ns - self._arrived_ns) * 1e-6  # the clock may have been set back
        if age_ms > self._max_age_ms and self._arrived_ns > -math.inf:
            return Place(missing=f'its {self.region.follows} is {age_ms * 1e-3:.1f} s old')
        return self._place


def _box(message: Any) -> Place:
    """A box in pixels; one without pixels means that there is nothing."""
    left, top = int(message.x_offset), int(message.y_offset)
    width, height = int(message.width), int(message.height)
    if not width or not height:
        return Place(missing='the box is empty')
    return Place(box=(left, top, width, height))


def _mask(message: Any) -> Place:
    """A mask: pixels above 0 are inside."""
    try:
        grey = decode_image(message, modality='image').array
    except DecodeError as error:
        return Place(missing=f'its mask cannot be decoded ({error})')
    return Place(mask=np.asarray(grey.any(axis=2) if grey.ndim == 3 else grey > 0))
