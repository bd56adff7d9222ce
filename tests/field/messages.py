"""Messages as drivers send them: in a wrong unit, order, range or container."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.field.bags import START_NS, TYPES, header, image, jpeg, packed

H, W = 48, 64
Array = NDArray[Any]
Y, X = np.mgrid[:H, :W]
RNG = np.random.default_rng(0)
DEPTH_MM = (900 + 8 * X + 4 * Y + RNG.integers(0, 9, (H, W))).astype(np.uint16)
DEPTH_M = DEPTH_MM.astype(np.float32) / np.float32(1000)
KELVIN_100 = (29_300 + 3 * X + RNG.integers(0, 20, (H, W))).astype(np.uint16)
GREY = (40 + 2 * X + Y).astype(np.uint8)
COLOUR = np.stack([60 + 3 * X, 200 - 4 * Y, 90 + X + Y], -1).astype(np.uint8)
TONE = (8_000 * np.sin(np.arange(8_000) * 0.1)).astype(np.int16)
RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Odd:
    """An unusual message.

    Attributes:
        name: Of the test.
        modality: That reads it.
        make: The message with a stamp.
        says: Regular expression of what is reported.
        right: What the sample is when it is read rightly; None where it must not count.
        within: By how much it may differ.
    """

    name: str
    modality: str
    make: Callable[[int], Any]
    says: str
    right: Array | None = None
    within: float = 0.0


def raw(encoding: str, array: Array, **changes: Any) -> Callable[[int], Any]:
    """Makes images of any stamp."""
    return lambda ns: image(ns, encoding, array, **changes)


def compressed(described: str, data: bytes) -> Callable[[int], Any]:
    """Makes compressed images of any stamp."""
    return lambda ns: packed(ns, described, data)


def png(array: Array) -> bytes:
    """A PNG file."""
    return bytes(cv2.imencode('.png', array)[1])


def mosaic(rgb: Array) -> Array:
    """As a sensor with an RGGB filter sees it."""
    plane = np.zeros(rgb.shape[:2], rgb.dtype)
    for (row, column), channel in zip(((0, 0), (0, 1), (1, 0), (1, 1)), (0, 1, 1, 2), strict=True):
        plane[row::2, column::2] = rgb[row::2, column::2, channel]
    return plane


def samples(values: Array, *, rate_hz: int = RATE_HZ) -> Callable[[int], Any]:
    """Makes `AudioChunk` messages of any stamp."""
    kind = TYPES['lb_ros/msg/AudioChunk']
    return lambda ns: kind(header(ns), rate_hz, 1, values)


def wav(values: Array, *, width: int = 2, rate_hz: int = RATE_HZ) -> bytes:
    """A WAV file of int16 values, with fewer or more bytes a sample."""
    buffer = io.BytesIO()
    with wave.open(buffer, 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        wide = {1: (values >> 8) + 128, 2: values, 3: values.astype(np.int32) << 8}[width]
        data = wide.astype({1: 'u1', 2: '<i2', 3: '<i4'}[width]).tobytes()
        if width == 3:
            data = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].tobytes()
        file.writeframes(data)
    return buffer.getvalue()


def shorts(data: bytes) -> Array:
    """Bytes as a driver puts them into an array of samples."""
    return np.frombuffer(data + bytes(len(data) % 2), np.int16)


REPAIRED = [
    Odd('depth_float_mm', 'depth', raw('32FC1', DEPTH_MM.astype(np.float32)),
        'is millimetres; read as such', DEPTH_M, 1e-6),
    Odd('depth_double_mm', 'depth', raw('64FC1', DEPTH_MM.astype(np.float64)),
        'is millimetres; read as such', DEPTH_M, 1e-6),
    Odd('depth_flag_big', 'depth', raw('16UC1', DEPTH_MM, is_bigendian=1),
        'is_bigendian 1 is wrong', DEPTH_MM),
    Odd('depth_flag_little', 'depth', raw('16UC1', DEPTH_MM.byteswap()),
        'is_bigendian 0 is wrong', DEPTH_MM),
    Odd('depth_float_flag_big', 'depth', raw('32FC1', DEPTH_M, is_bigendian=1),
        'is_bigendian 1 is wrong', DEPTH_M),
    Odd('thermal_flag_big', 'infrared', raw('mono16', KELVIN_100, is_bigendian=1),
        'is_bigendian 1 is wrong', KELVIN_100),
    Odd('depth_step_0', 'depth', raw('16UC1', DEPTH_MM, step=0), 'step 0 does not', DEPTH_MM),
    Odd('depth_step_in_pixels', 'depth', raw('16UC1', DEPTH_MM, step=W), 'step 64 d', DEPTH_MM),
    Odd('colour_step_0', 'image', raw('rgb8', COLOUR, step=0), 'step 0 does not fit', COLOUR),
    Odd('thermal_step_0', 'infrared', raw('mono16', KELVIN_100, step=0), 'step 0', KELVIN_100),
    Odd('depth_without_header', 'depth', compressed('16UC1; compressedDepth png', png(DEPTH_MM)),
        '12 bytes before the PNG are missing', DEPTH_MM),
    Odd('grey_12_bits', 'image', raw('mono16', GREY.astype(np.uint16) << 4),
        'of 12 bits', np.repeat(GREY[..., None], 3, 2)),
    Odd('grey_10_bits', 'image', raw('mono16', GREY.astype(np.uint16) << 2),
        'of 10 bits', np.repeat(GREY[..., None], 3, 2)),
    Odd('grey_8_bits', 'image', raw('mono16', GREY.astype(np.uint16)),
        'of 8 bits', np.repeat(GREY[..., None], 3, 2)),
    Odd('colour_12_bits', 'image', raw('rgb16', COLOUR.astype(np.uint16) << 4),
        'of 12 bits', COLOUR),
    Odd('png_12_bits', 'image', compressed('mono16; png compressed', png(
        GREY.astype(np.uint16) << 4)), 'of 12 bits', np.repeat(GREY[..., None], 3, 2)),
    Odd('mosaic_12_bits', 'image', raw('bayer_rggb16', mosaic(COLOUR).astype(np.uint16) << 4),
        'of 12 bits', COLOUR, 12),
    Odd('mosaic_as_jpeg_with_its_name', 'image',
        compressed('bayer_rggb8; jpeg compressed ', jpeg(mosaic(COLOUR))),
        'mosaic bayer_rggb8 compressed as grey; debayered', COLOUR, 90),
    Odd('wav_in_a_chunk', 'audio', samples(shorts(wav(TONE)), rate_hz=44_100),
        'a WAV file instead of samples; read at its 16000 Hz', TONE),
    Odd('wav_of_8_bits', 'audio', samples(shorts(wav(TONE, width=1))), 'a WAV file', TONE, 256),
    Odd('wav_of_24_bits', 'audio', samples(shorts(wav(TONE, width=3))), 'a WAV file',
        TONE / 2**15, 1e-4),
]  # fmt: skip

NO_EVIDENCE = [
    Odd('depth_metres', 'depth', raw('16UC1', (DEPTH_MM // 400).astype(np.uint16)),
        'are these metres'),
    Odd('depth_broken_mm', 'depth', raw('32FC1', DEPTH_MM.astype(np.float32) + 0.3),
        'are these millimetres'),
    Odd('mosaic_as_grey', 'image', raw('mono8', mosaic(COLOUR)), 'Bayer mosaic sent as grey'),
    Odd('mosaic_as_jpeg', 'image', compressed('jpeg', jpeg(mosaic(COLOUR))), 'Bayer mosaic sent'),
    Odd('shares_as_bytes', 'image', raw('rgb8', (COLOUR > 128).astype(np.uint8)),
        'black picture .brightest 1 of 255'),
    Odd('lepton_raw', 'infrared', raw('mono16', (7900 + X).astype(np.uint16)), 'implausible temp'),
    Odd('celsius', 'infrared', raw('32FC1', (20 + X / 64).astype(np.float32)),
        'implausible temperatures'),
    Odd('fahrenheit', 'infrared', raw('32FC1', (68 + X / 64).astype(np.float32)),
        'implausible temperatures'),
    Odd('centikelvin_floats', 'infrared', raw('32FC1', KELVIN_100.astype(np.float32)),
        'implausible temperatures'),
    Odd('thermal_8_bits', 'infrared', raw('mono8', GREY), '8-bit picture, not a temperature'),
]  # fmt: skip

UNREADABLE = [
    Odd('inverse_depth_without_header', 'depth',
        compressed('32FC1; compressedDepth png', png(DEPTH_MM)), 'which hold the scale'),
    Odd('flac', 'audio', samples(shorts(b'fLaC' + bytes(800))), 'the sound is FLAC, expected'),
    Odd('ogg', 'audio', samples(shorts(b'OggS' + bytes(800))), 'the sound is OGG, expected wave'),
    Odd('mp3', 'audio', samples(shorts(b'ID3\x04' + bytes(800))), 'the sound is mp3, expected'),
    Odd('wav_of_mu_law', 'audio', samples(shorts(wav(TONE).replace(
        b'fmt \x10\0\0\0\x01\0', b'fmt \x10\0\0\0\x07\0'))), 'a WAV file of format 7'),
]  # fmt: skip

# What must stay as it is: nothing is noted of these, and they count.
GOOD = [
    Odd('depth', 'depth', raw('16UC1', DEPTH_MM), '', DEPTH_MM),
    Odd('depth_big', 'depth', raw('16UC1', DEPTH_MM.byteswap(), is_bigendian=1), '', DEPTH_MM),
    Odd('depth_float', 'depth', raw('32FC1', DEPTH_M), '', DEPTH_M),
    Odd('depth_of_a_wall', 'depth', raw('32FC1', np.full((H, W), 2, np.float32)), '',
        np.full((H, W), 2, np.float32)),
    Odd('colour', 'image', raw('rgb8', COLOUR), '', COLOUR),
    Odd('noise', 'image', raw('mono16', RNG.integers(0, 65_536, (H, W)).astype(np.uint16)), ''),
    Odd('grey', 'image', raw('mono8', GREY), '', np.repeat(GREY[..., None], 3, 2)),
    Odd('grey_16_bits', 'image', raw('mono16', GREY.astype(np.uint16) << 8), '',
        np.repeat(GREY[..., None], 3, 2)),
    Odd('named_mosaic', 'image', raw('bayer_rggb8', mosaic(COLOUR)), '', COLOUR, 12),
    Odd('thermal', 'infrared', raw('mono16', KELVIN_100), '', KELVIN_100),
    Odd('sound', 'audio', samples(TONE), '', TONE),
]  # fmt: skip

STAMP_NS = START_NS
