"""The bytes of a message field, in host or device memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError


def bytes_of(field: Any) -> NDArray[np.uint8]:
    """View a `uint8[]` field, or copy it to the host if its memory is on a device.

    Since ROS 2 Lyrical such a field may be a `rosidl_buffer.Buffer`, which does not implement the
    buffer protocol; its `to_bytes()` copies from the memory that `backend_type` names.

    Returns:
        uint8 `[n]`.

    Raises:
        DecodeError: The field cannot be read on the host; the text names its type and a remedy.
    """
    try:
        view = memoryview(field)
    except TypeError:
        return np.frombuffer(_host_copy(field), np.uint8)
    return np.frombuffer(view, np.uint8)


def _host_copy(field: Any) -> bytes:
    kind = f'{type(field).__module__}.{type(field).__qualname__}'
    backend = getattr(field, 'backend_type', '')
    where = f'{kind} in {backend} memory' if backend else kind
    if not hasattr(field, 'to_bytes') or isinstance(field, int):
        raise DecodeError(f'the data are a {where}, expected bytes or a rosidl_buffer.Buffer')
    try:
        return bytes(field.to_bytes())
    except Exception as error:  # a backend may raise any error; the node continues
        raise DecodeError(
            f'the data are a {where} and cannot be copied to the host ({error}): let the driver '
            f'publish from CPU memory'
        ) from error
