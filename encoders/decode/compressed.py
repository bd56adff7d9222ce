"""sensor_msgs CompressedImage: jpeg, png, and compressed_depth_image_transport."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.encodings import TO_RGB
from encoders.decode.errors import DecodeError
from encoders.decode.repair import to_bytes
from encoders.decode.rvl import decode_rvl
from encoders.modalities import MODALITIES

Array = NDArray[Any]

MAX_PIXELS = 1 << 26  # 64 MP; a damaged or hostile header must not allocate gigabytes
DEPTH_HEADER = 12  # bytes: int32 format, float32 a, float32 b
PNG_MAGIC, JPEG_MAGIC = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
# OpenCV 4.10 decodes to RGB directly; Ubuntu 24.04 has 4.6, whose colours are BGR.
COLOUR_IS_RGB = hasattr(cv2, 'IMREAD_COLOR_RGB')
COLOUR = cv2.IMREAD_COLOR_RGB if COLOUR_IS_RGB else cv2.IMREAD_COLOR
PNG_CHUNK = 12  # bytes: length, type and checksum around a chunk's data
JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start of frame markers


def decode_compressed(
    data: NDArray[np.uint8], description: str, *, modality: str, notes: list[str] | None = None
) -> Array:
    """Decode the bytes of a CompressedImage.

    Args:
        data: uint8 `[n]`.
        description: Field `format` of the message.
        modality: Modality of the image.
        notes: Receives a line for every error that was corrected.

    Returns:
        Colour (`image`, `touch`): uint8 `[H, W, 3]` RGB.
        `depth`: uint16 millimetres or float32 metres `[H, W]`.
        `infrared`: uint8 or uint16 `[H, W]`.

    Raises:
        DecodeError: The bytes are not such an image.
    """
    notes = [] if notes is None else notes
    if 'compressedDepth' in description:
        if modality != 'depth':
            raise DecodeError(
                f'format {description!r} is a depth image, no {modality}; expected jpeg or png',
                fault='encoding',
            )
        return _depth(data, description, notes)
    is_colour = MODALITIES[modality].pixels == 'colour'
    if is_colour:
        return _colour(data, description, notes)
    array = _picture(data, cv2.IMREAD_UNCHANGED, description)
    pixels = MODALITIES[modality].pixels
    if pixels == 'infrared' and array.ndim == 3 and _is_grey(array):
        array = np.ascontiguousarray(array[..., 0])
    wanted = (np.uint16,) if pixels == 'depth' else (np.uint8, np.uint16)
    if array.ndim != 2 or array.dtype not in wanted:
        names = ' or '.join(np.dtype(kind).name for kind in wanted)
        raise DecodeError(
            f'format {description!r} holds {array.dtype} {list(array.shape)}, '
            f'which is no {modality}; expected one channel of {names}',
            fault='encoding',
        )
    return array


def _colour(data: NDArray[np.uint8], description: str, notes: list[str]) -> Array:
    pattern = description.split(';')[0].strip()
    if pattern.startswith('bayer_') and pattern in TO_RGB:
        # A publisher compresses either the raw mosaic (one channel) or a debayered image.
        mosaic = _picture(data, cv2.IMREAD_UNCHANGED, description)
        if mosaic.ndim == 2:
            notes.append(f'a mosaic {pattern} compressed as grey; debayered')
            array = cv2.cvtColor(mosaic, TO_RGB[pattern])
            return to_bytes(array, notes) if array.dtype == np.uint16 else array
    array = _picture(data, COLOUR | cv2.IMREAD_ANYDEPTH, description)
    array = to_bytes(array, notes) if array.dtype == np.uint16 else array
    return array if COLOUR_IS_RGB else cv2.cvtColor(array, cv2.COLOR_BGR2RGB)


def _is_grey(array: Array) -> bool:
    """Whether a three-channel image is a grey image that a republisher converted to colour."""
    return array.shape[2] == 3 and bool((array[..., :2] == array[..., 2:]).all())


def _picture(data: NDArray[np.uint8], flags: int, description: str) -> Array:
    columns, rows = _declared_size(data[: 1 << 20].tobytes(), description, count=len(data))
    if not 0 < columns * rows <= MAX_PIXELS:
        raise DecodeError(
            f'format {description!r}: a picture of {columns}x{rows} is beyond '
            f'{MAX_PIXELS >> 20} million pixels or empty',
            fault='size',
        )
    if data[: len(PNG_MAGIC)].tobytes() == PNG_MAGIC and not _is_whole_png(data):
        raise DecodeError(f'format {description!r}: {len(data)} bytes are a damaged picture')
    try:
        array = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise DecodeError(f'format {description!r}: {error.err}') from error
    if array is None:
        raise DecodeError(f'format {description!r}: {len(data)} bytes are a damaged picture')
    return np.asarray(array)


def _is_whole_png(data: NDArray[np.uint8]) -> bool:
    """Whether all chunks up to the last are within the data.

    OpenCV allocates the declared length of a chunk, up to 2 GB, before it reads the chunk.
    """
    at = len(PNG_MAGIC)
    while at + PNG_CHUNK <= len(data):
        length, kind = struct.unpack('>I4s', data[at : at + 8].tobytes())
        at += PNG_CHUNK + int(length)
        if kind == b'IEND':
            return at <= len(data)
    return False


def _declared_size(head: bytes, description: str, *, count: int) -> tuple[int, int]:
    """Return columns and rows from the header of a jpeg or png, without decoding it.

    Raises:
        DecodeError: The bytes are neither jpeg nor png, or have no size.
    """
    if head.startswith(PNG_MAGIC) and len(head) >= 24:
        columns, rows = struct.unpack('>II', head[16:24])
        return columns, rows
    if head.startswith(JPEG_MAGIC):
        at = 2
        while at + 9 <= len(head):
            if head[at] != 0xFF:
                break
            marker = head[at + 1]
            if marker in JPEG_SIZES:
                rows, columns = struct.unpack('>HH', head[at + 5 : at + 9])
                return columns, rows
            # Skip padding and markers without a length.
            alone = marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD9
            at += (
                (1 if marker == 0xFF else 2)
                if alone
                else 2 + max(2, int.from_bytes(head[at + 2 : at + 4], 'big'))
            )
    raise DecodeError(f'format {description!r}: {count} bytes are neither jpeg nor png')


def _depth(data: NDArray[np.uint8], description: str, notes: list[str]) -> Array:
    bare = data[: len(PNG_MAGIC)].tobytes() == PNG_MAGIC
    is_inverse = description.startswith('32FC1')
    if bare and is_inverse:
        raise DecodeError(
            f'format {description!r}: the {DEPTH_HEADER} bytes before the PNG are missing, which '
            f'hold the scale; publish with compressed_depth_image_transport',
            fault='encoding',
        )
    if bare:
        notes.append(f'the {DEPTH_HEADER} bytes before the PNG are missing; read without them')
    elif len(data) <= DEPTH_HEADER:
        raise DecodeError(f'format {description!r}: {len(data)} bytes are too few', fault='size')
    content = data if bare else data[DEPTH_HEADER:]
    if 'rvl' in description.lower() and not bare:
        array: Array = decode_rvl(content.tobytes(), max_pixels=MAX_PIXELS)
    else:
        array = _picture(content, cv2.IMREAD_UNCHANGED, description)
    if array.ndim != 2 or array.dtype != np.uint16:
        raise DecodeError(
            f'format {description!r} holds {array.dtype} {list(array.shape)}, '
            f'expected one channel of uint16',
            fault='encoding',
        )
    if not is_inverse:
        return array
    # Inverse depth: z = a / (value - b).
    _, quant_a, quant_b = struct.unpack('<iff', data[:DEPTH_HEADER].tobytes())
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        metres = np.float32(quant_a) / (array.astype(np.float32) - np.float32(quant_b))
    return np.where(array > 0, metres, np.nan).astype(np.float32)
