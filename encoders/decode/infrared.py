"""Infrared counts of any camera to the two forms that encoders accept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError
from encoders.decode.options import CENTIKELVIN, NEAR, ImageOptions


def as_infrared(array: NDArray[Any], options: ImageOptions) -> NDArray[Any]:
    """uint16 centikelvin if the counts are temperatures, else uint8 grey; `[H, W]`.

    Args:
        array: `[H, W]`: uint8 grey (no temperature), uint16 counts, or float kelvin.
        options: Meaning of the counts.

    Returns:
        A view of `array` if no conversion is needed. In centikelvin, 0 is a dead pixel.

    Raises:
        DecodeError: There are only telemetry rows, or float pixels in near infrared.
    """
    if options.telemetry_rows:
        if options.telemetry_rows >= len(array):
            raise DecodeError(
                f'{options.telemetry_rows} rows of telemetry leave nothing of {len(array)} rows',
                fault='size',
            )
        array = array[: -options.telemetry_rows]
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == 'f':
        if options.infrared_kind == NEAR:
            raise DecodeError('float pixels are kelvin, but near_infrared knows no temperature')
        kelvin = np.asarray(array, np.float32)
        return _centikelvin(kelvin, alive=np.isfinite(kelvin) & (kelvin > 0))
    if not options.radiometric:
        span = options.high_count - options.low_count
        grey = (array.astype(np.float32) - options.low_count) * np.float32(255 / span)
        return np.clip(np.round(grey), 0, 255).astype(np.uint8)
    if options.kelvin_per_count == CENTIKELVIN and not options.kelvin_at_zero:
        return array
    kelvin = array.astype(np.float32) * np.float32(options.kelvin_per_count)
    return _centikelvin(kelvin + np.float32(options.kelvin_at_zero), alive=array > 0)


def _centikelvin(kelvin: NDArray[np.float32], *, alive: NDArray[np.bool_]) -> NDArray[np.uint16]:
    counts = np.round(np.where(alive, kelvin, 0) / np.float32(CENTIKELVIN))
    limited = np.clip(counts, 1, 65535).astype(np.uint16)
    return np.where(alive, limited, 0).astype(np.uint16)
