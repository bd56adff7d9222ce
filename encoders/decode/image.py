"""sensor_msgs Image and CompressedImage to arrays."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError

Array = NDArray[Any]

# Encoding -> (dtype, channels); sensor_msgs/image_encodings.hpp.
RAW_ENCODINGS: dict[str, tuple[str, int]] = {
    'rgb8': ('u1', 3), 'bgr8': ('u1', 3), 'rgba8': ('u1', 4), 'bgra8': ('u1', 4),
    '8UC3': ('u1', 3), '8UC4': ('u1', 4), 'mono8': ('u1', 1), '8UC1': ('u1', 1),
    'mono16': ('u2', 1), '16UC1': ('u2', 1), '32FC1': ('f4', 1), '64FC1': ('f8', 1),
    'yuv422': ('u1', 2), 'uyvy': ('u1', 2), 'yuv422_yuy2': ('u1', 2), 'yuyv': ('u1', 2),
    'bayer_rggb8': ('u1', 1), 'bayer_bggr8': ('u1', 1),
    'bayer_gbrg8': ('u1', 1), 'bayer_grbg8': ('u1', 1),
}  # fmt: skip
# 8UC3 and 8UC4 carry OpenCV's order, which is BGR.
TO_RGB: dict[str, int] = {
    'bgr8': cv2.COLOR_BGR2RGB, '8UC3': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB, 'bgra8': cv2.COLOR_BGRA2RGB, '8UC4': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB, '8UC1': cv2.COLOR_GRAY2RGB,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY, 'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2, 'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB, 'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB, 'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
}  # fmt: skip
ACCEPTED: dict[str, tuple[str, ...]] = {
    'image': ('rgb8', *TO_RGB),
    'depth': ('16UC1', 'mono16', '32FC1', '64FC1'),
    'infrared': ('mono8', '8UC1', 'mono16', '16UC1'),
}
COMPRESSED_DEPTH_HEADER = 12  # bytes: format, then two float32 of compressed_depth_image_transport


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An array as `preprocess` takes it, and the encoding it came in."""

    array: Array
    encoding: str


def decode_image(message: Any, *, modality: str) -> DecodedImage:
    """Decode an Image or a CompressedImage.

    Args:
        message: Any object with the fields of sensor_msgs Image or CompressedImage.
        modality: `image`, `depth` or `infrared`.

    Returns:
        `image`: uint8 `[H, W, 3]` RGB. `depth`: uint16 millimetres or float metres `[H, W]`.
        `infrared`: uint8 or uint16 counts `[H, W]`. A view of the message where no conversion is
        needed.

    Raises:
        DecodeError: The encoding is unknown or of another modality, or the bytes do not fit.
    """
    if hasattr(message, 'encoding'):
        return _decode_raw(message, modality)
    if hasattr(message, 'format'):
        return _decode_compressed(message, modality)
    raise DecodeError(f'{type(message).__name__} is neither an Image nor a CompressedImage')


def _decode_raw(message: Any, modality: str) -> DecodedImage:
    encoding = str(message.encoding)
    if encoding not in ACCEPTED[modality]:
        raise DecodeError(
            f'encoding {encoding!r} is no {modality}, expected {", ".join(ACCEPTED[modality])}'
        )
    kind, channels = RAW_ENCODINGS[encoding]
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.frombuffer(memoryview(message.data), np.uint8)
    row = width * channels * dtype.itemsize
    if height < 1 or width < 1 or step < row or len(data) < step * (height - 1) + row:
        raise DecodeError(
            f'{encoding} image of {width}x{height} with step {step} needs at least '
            f'{row} bytes a row, but the message holds {len(data)} bytes'
        )
    padded = data[: step * height]
    if len(padded) < step * height:
        padded = np.pad(padded, (0, step * height - len(padded)))
    rows = padded.reshape(height, step)[:, :row]
    shape = (height, width, channels) if channels > 1 else (height, width)
    array = np.ascontiguousarray(rows).view(dtype).reshape(shape)
    array = array.astype(dtype.newbyteorder('='), copy=False)
    if modality == 'image' and encoding in TO_RGB:
        try:
            array = cv2.cvtColor(array, TO_RGB[encoding])
        except cv2.error as error:
            raise DecodeError(f'{encoding} image of {width}x{height}: {error.err}') from error
    return DecodedImage(array, encoding)


def _decode_compressed(message: Any, modality: str) -> DecodedImage:
    description = str(message.format)
    data = np.frombuffer(memoryview(message.data), np.uint8)
    if 'compressedDepth' in description:
        if modality == 'image':
            raise DecodeError(f'format {description!r} is a depth image, not an image')
        return DecodedImage(_decode_compressed_depth(data, description), description)
    flags = cv2.IMREAD_COLOR_RGB if modality == 'image' else cv2.IMREAD_UNCHANGED
    array = _decode_bytes(data, flags, description)
    if modality == 'image':
        return DecodedImage(array, description)
    wanted = (np.uint16,) if modality == 'depth' else (np.uint8, np.uint16)
    if array.ndim != 2 or array.dtype not in wanted:
        raise DecodeError(
            f'format {description!r} holds {array.dtype} {list(array.shape)}, '
            f'which is no {modality}'
        )
    return DecodedImage(array, description)


def _decode_bytes(data: NDArray[np.uint8], flags: int, description: str) -> Array:
    try:
        array = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error as error:
        raise DecodeError(f'format {description!r}: {error.err}') from error
    if array is None:
        raise DecodeError(f'format {description!r}: {len(data)} bytes are no image')
    return np.asarray(array)


def _decode_compressed_depth(data: NDArray[np.uint8], description: str) -> Array:
    if len(data) <= COMPRESSED_DEPTH_HEADER:
        raise DecodeError(f'format {description!r}: {len(data)} bytes are too few')
    if 'rvl' in description.lower():
        array = _decode_rvl(data[COMPRESSED_DEPTH_HEADER:].tobytes(), description)
    else:
        array = _decode_bytes(data[COMPRESSED_DEPTH_HEADER:], cv2.IMREAD_UNCHANGED, description)
    if array.ndim != 2 or array.dtype != np.uint16:
        raise DecodeError(f'format {description!r} holds {array.dtype} {list(array.shape)}')
    if description.startswith('32FC1'):
        # compressed_depth_image_transport codes inverse depth: z = a / (value - b).
        _, quant_a, quant_b = struct.unpack('<iff', data[:COMPRESSED_DEPTH_HEADER].tobytes())
        with np.errstate(divide='ignore', invalid='ignore'):
            metres = quant_a / (array.astype(np.float32) - quant_b)
        return np.where(array > 0, metres, np.nan).astype(np.float32)
    return array


def _decode_rvl(raw: bytes, description: str) -> NDArray[np.uint16]:
    """Run lengths and differences of neighbours (Wilson 2017, "Fast lossless depth")."""
    if len(raw) < 8:
        raise DecodeError(f'format {description!r}: no room for the size')
    columns, rows = struct.unpack('<II', raw[:8])
    if not 0 < columns * rows <= 1 << 26:
        raise DecodeError(f'format {description!r}: impossible size {columns}x{rows}')
    words = np.frombuffer(raw[8 : 8 + (len(raw) - 8) // 4 * 4], '<u4')
    nibbles = ((words[:, None] >> np.arange(28, -4, -4, dtype=np.uint32)) & 0xF).ravel().tolist()
    pixels = np.zeros(columns * rows, np.uint16)
    try:
        _fill_rvl(pixels, nibbles)
    except IndexError as error:
        raise DecodeError(f'format {description!r}: the data end too early') from error
    return pixels.reshape(rows, columns)


def _fill_rvl(pixels: NDArray[np.uint16], nibbles: list[int]) -> None:
    cursor = at = previous = 0

    def number() -> int:
        nonlocal cursor
        value = shift = 0
        while True:
            nibble = nibbles[cursor]
            cursor += 1
            value |= (nibble & 7) << shift
            shift += 3
            if not nibble & 8:
                return value

    while at < len(pixels):
        at += number()
        for _ in range(number()):
            delta = number()
            previous = (previous + ((delta >> 1) ^ -(delta & 1))) & 0xFFFF
            pixels[at] = previous
            at += 1
