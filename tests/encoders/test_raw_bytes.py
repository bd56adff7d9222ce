"""Messages as other distributions hold them: device buffers, and images for an older OpenCV."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from encoders import DecodeError, decode_audio, decode_image
from encoders.decode import compressed
from encoders.decode.raw_bytes import bytes_of


class Buffer:
    """The Python interface of upstream's class: a length, a backend and a copy to the host."""

    def __init__(self, content: bytes, backend_type: str = 'cuda') -> None:
        self._content = content
        self.backend_type = backend_type

    def __len__(self) -> int:
        return len(self._content)

    def to_bytes(self) -> bytes:
        return self._content


class LostBuffer(Buffer):
    def to_bytes(self) -> bytes:
        raise RuntimeError('no CUDA-capable device is detected')


class OpaqueBuffer:
    backend_type = 'cuda'


def image(data: Any) -> SimpleNamespace:
    return SimpleNamespace(encoding='16UC1', height=2, width=3, step=6, is_bigendian=0, data=data)


DEPTH = np.arange(6, dtype='<u2').reshape(2, 3)


@pytest.mark.parametrize('backend', ['cpu', 'cuda'])
def test_a_buffer_without_the_buffer_protocol_is_copied_to_the_host(backend: str) -> None:
    field = Buffer(DEPTH.tobytes(), backend)
    with pytest.raises(TypeError):
        memoryview(field)  # type: ignore[arg-type]
    assert np.array_equal(decode_image(image(field), modality='depth').array, DEPTH)


def test_a_compressed_image_may_be_in_a_device_buffer() -> None:
    grey = np.full((8, 8, 3), 90, np.uint8)
    png = cv2.imencode('.png', grey)[1].tobytes()
    message = SimpleNamespace(format='png', data=Buffer(png))
    assert np.array_equal(decode_image(message, modality='image').array, grey)


def test_colours_are_those_of_the_image_with_an_opencv_that_decodes_to_bgr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    colours = np.full((8, 8, 3), (200, 90, 10), np.uint8)
    png = cv2.imencode('.png', colours[..., ::-1])[1].tobytes()
    message = SimpleNamespace(format='png', data=png)
    assert np.array_equal(decode_image(message, modality='image').array, colours)
    monkeypatch.setattr(compressed, 'COLOUR_IS_RGB', False)
    monkeypatch.setattr(compressed, 'COLOUR', cv2.IMREAD_COLOR)
    assert np.array_equal(decode_image(message, modality='image').array, colours)


def test_sound_may_be_in_a_device_buffer() -> None:
    wave = np.array([1, -2, 3, -4], '<i2')
    message = SimpleNamespace(data=Buffer(wave.tobytes()))
    plain = decode_audio(SimpleNamespace(data=array('B', wave.tobytes())))
    assert np.array_equal(decode_audio(message).wave, plain.wave)


def test_ordinary_fields_are_viewed_without_a_copy() -> None:
    field = array('B', range(8))
    assert np.shares_memory(bytes_of(field), np.frombuffer(field, np.uint8))


@pytest.mark.parametrize(
    ('field', 'says'),
    [
        (LostBuffer(b'12'), r'LostBuffer in cuda memory .*no CUDA-capable device.*CPU memory'),
        (OpaqueBuffer(), r'OpaqueBuffer in cuda memory, expected bytes or a rosidl_buffer.Buffer'),
        (7, r'builtins.int, expected bytes'),
    ],
)
def test_a_field_that_cannot_be_read_names_its_kind_and_a_remedy(field: Any, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        bytes_of(field)
    with pytest.raises(DecodeError, match=says):
        decode_image(image(field), modality='depth')
