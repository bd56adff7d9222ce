"""sensor_msgs Image and CompressedImage to arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.compressed import MAX_PIXELS, decode_compressed
from encoders.decode.encodings import ACCEPTED, PLANAR, RAW_ENCODINGS, TO_RGB
from encoders.decode.errors import DecodeError
from encoders.decode.infrared import as_infrared
from encoders.decode.options import ImageOptions
from encoders.decode.raw_bytes import bytes_of
from encoders.decode.repair import byte_order, depth_unit, row_step, to_bytes
from encoders.modalities import MODALITIES

Array = NDArray[Any]
PLAIN = ImageOptions()
HINTED = ('depth', 'mono16')


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An array in the form that `preprocess` accepts, and its original encoding.

    `repaired` describes errors of the message that were corrected; empty for none.
    """

    array: Array
    encoding: str
    repaired: str = ''


def decode_image(message: Any, *, modality: str, options: ImageOptions = PLAIN) -> DecodedImage:
    """Decode an Image or a CompressedImage.

    Args:
        message: Any object with the fields of sensor_msgs Image or CompressedImage.
        modality: Modality of the image.
        options: Properties that the encoding does not define.

    Returns:
        Colour (`image`, `touch`): uint8 `[H, W, 3]` RGB.
        `depth`: uint16 millimetres or float metres `[H, W]`.
        `infrared`: uint16 centikelvin if the counts are temperatures, else uint8 grey
        `[H, W]`. A view of the message if no conversion is needed.

    Raises:
        DecodeError: The encoding is unknown or of another modality, or the size is wrong.
    """
    notes: list[str] = []
    if hasattr(message, 'encoding'):
        array, encoding = _raw(message, modality, options, notes), str(message.encoding)
    elif hasattr(message, 'format'):
        encoding = str(message.format)
        data = bytes_of(message.data)
        array = decode_compressed(data, encoding, modality=modality, notes=notes)
    else:
        kind = type(message).__name__
        raise DecodeError(f'{kind} is neither an Image nor a CompressedImage', fault='encoding')
    if MODALITIES[modality].pixels == 'infrared':
        array = as_infrared(array, options)
    if modality == 'depth':
        array = depth_unit(array, notes)
    return DecodedImage(array, encoding, '; '.join(notes))


def _raw(message: Any, modality: str, options: ImageOptions, notes: list[str]) -> Array:
    encoding = str(message.encoding)
    pixels = MODALITIES[modality].pixels
    accepted = ACCEPTED[pixels]
    if pixels == 'depth' and options.mono16_is_depth:
        accepted = (*accepted, 'mono16')
    if encoding not in accepted:
        hint = '; mono16_is_depth allows mono16' if (modality, encoding) == HINTED else ''
        raise DecodeError(
            f'encoding {encoding!r} is no {modality}, expected {", ".join(accepted)}{hint}',
            fault='encoding',
        )
    array = _pixels(message, encoding, notes)
    if pixels != 'colour':
        return array
    if encoding in TO_RGB:
        try:
            array = cv2.cvtColor(array, TO_RGB[encoding])
        except cv2.error as error:
            size = f'{message.width}x{message.height}'
            raise DecodeError(f'{encoding} image of {size}: {error.err}', fault='size') from error
    return to_bytes(array, notes) if array.dtype == np.uint16 else array


def _pixels(message: Any, encoding: str, notes: list[str]) -> Array:
    """Return `[H, W]` or `[H, W, channels]` in native byte order; planar images with all rows."""
    kind, channels = RAW_ENCODINGS[encoding]
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = bytes_of(message.data)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise DecodeError(
            f'{encoding} image of {width}x{height} is empty or beyond '
            f'{MAX_PIXELS >> 20} million pixels',
            fault='size',
        )
    row = width * channels * dtype.itemsize
    rows = height + (height + 1) // 2 if encoding in PLANAR else height
    step = row_step(step, row=row, rows=rows, count=len(data), notes=notes)
    # The last row may lack its padding.
    if step < row or len(data) < step * (rows - 1) + row:
        raise DecodeError(
            f'{encoding} image of {width}x{height} with step {step} needs at least '
            f'{row} bytes in each of {rows} rows, but the message holds {len(data)} bytes',
            fault='size',
        )
    shape = (rows, width, channels) if channels > 1 else (rows, width)
    inner = dtype.itemsize * channels
    strides = (step, inner, dtype.itemsize) if channels > 1 else (step, inner)
    view: Array = np.ndarray(shape, dtype, buffer=data, strides=strides)
    array = np.ascontiguousarray(view)
    native = array.astype(dtype.newbyteorder('='), copy=False)
    return byte_order(native, flag=int(message.is_bigendian), notes=notes)
