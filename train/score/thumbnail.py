"""Small images of sensor data, for people."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES
from encoders.decode.series import Series
from train.score.series_picture import draw_series

SIDE = 128  # pixels
JPEG_QUALITY = 70
# Colour maps that keep their order in greyscale and for colour-blind viewers.
COLOURS = {'depth': cv2.COLORMAP_VIRIDIS, 'infrared': cv2.COLORMAP_INFERNO}
FFT, HOP = 512, 256
FLOOR_DB, CEILING_DB = -90.0, -10.0


def thumbnail(modality: str, raw: Any, *, side: int = SIDE) -> bytes:
    """A JPEG: a colour image, coloured depth or heat, a spectrogram, or the plots of a series.

    Args:
        modality: Modality of the sample.
        raw: Sample as accepted by `Binder.preprocess`.
        side: Longest side, pixels; plots keep their size, in which their labels can be read.
    """
    picture = picture_of(modality, raw)
    is_plot = MODALITIES[modality].kind == 'series'
    scale = 1.0 if is_plot else side / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return _jpeg(picture)


def series_plot(series: Series, *, window_s: float) -> bytes:
    """A JPEG of a series whose last `window_s` are marked; 0 for no mark."""
    return _jpeg(draw_series(series, window_s=window_s))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    coded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return bytes(coded.tobytes())


def picture_of(modality: str, raw: Any) -> NDArray[np.uint8]:
    """Sensor data as an image, uint8 BGR `[H, W, 3]`; see `thumbnail`."""
    if MODALITIES[modality].kind == 'sound':
        return _spectrogram(*raw)
    if MODALITIES[modality].kind == 'series':
        return draw_series(raw)
    if modality not in COLOURS:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_RGB2BGR), np.uint8)
    return _coloured(np.asarray(raw), COLOURS[modality])


def _coloured(plane: NDArray[Any], colours: int) -> NDArray[np.uint8]:
    """Colours that span the 1st to 99th percentile of measured values; holes are black."""
    values = plane.astype(np.float32)
    measured = np.isfinite(values) & (values > 0)
    if not measured.any():
        return np.zeros((*plane.shape, 3), np.uint8)
    low, high = np.percentile(values[measured], (1, 99))
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    picture = cv2.applyColorMap((np.nan_to_num(scaled) * 255).astype(np.uint8), colours)
    picture[~measured] = 0
    return np.asarray(picture, np.uint8)


def _spectrogram(wave: NDArray[Any], rate_hz: int) -> NDArray[np.uint8]:
    mono = np.atleast_2d(wave).astype(np.float32).mean(axis=0)
    if wave.dtype == np.int16:
        mono /= 32768
    mono = np.pad(mono, (0, max(0, FFT - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, FFT)[::HOP] * np.hanning(FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / FFT
    level_db = 10 * np.log10(power.T[::-1] + 1e-12)
    scaled = np.clip((level_db - FLOOR_DB) / (CEILING_DB - FLOOR_DB), 0, 1)
    plane = cv2.resize((scaled * 255).astype(np.uint8), (SIDE, SIDE * 3 // 4))
    return np.asarray(cv2.applyColorMap(plane, cv2.COLORMAP_MAGMA), np.uint8)
