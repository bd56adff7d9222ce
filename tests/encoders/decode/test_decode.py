from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import DecodeError, decode_audio, decode_image


def raw_image(array: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False):
    rows = array.reshape(len(array), -1)
    if big:
        rows = rows.astype(rows.dtype.newbyteorder('>'))
    data = rows.view(np.uint8).reshape(len(array), -1)
    data = np.pad(data, ((0, 0), (0, padding)))
    return SimpleNamespace(
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        step=data.shape[1],
        is_bigendian=int(big),
        data=data.tobytes(),
    )


def compressed(data: bytes, description: str):
    return SimpleNamespace(format=description, data=data)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC3'])
def test_colour_images_become_rgb(encoding: str, padding: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    opaque = np.full((6, 8, 1), 255, np.uint8)
    sent = {
        'rgb8': rgb,
        'bgr8': rgb[..., ::-1].copy(),
        '8UC3': rgb[..., ::-1].copy(),
        'rgba8': np.concatenate([rgb, opaque], -1),
        'bgra8': np.concatenate([rgb[..., ::-1], opaque], -1),
        'mono8': rgb[..., 0].copy(),
    }[encoding]
    found = decode_image(raw_image(sent, encoding, padding=padding), modality='image')
    wanted = np.repeat(rgb[..., :1], 3, -1) if encoding == 'mono8' else rgb
    np.testing.assert_array_equal(found.array, wanted)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize(('encoding', 'kind'), [('16UC1', np.uint16), ('32FC1', np.float32)])
def test_depth_keeps_its_values(encoding: str, kind: type, big: bool) -> None:
    sent = np.arange(48, dtype=kind).reshape(6, 8)
    found = decode_image(raw_image(sent, encoding, padding=3, big=big), modality='depth')
    np.testing.assert_array_equal(found.array, sent)
    assert found.array.dtype == kind


def test_compressed_depth_is_decoded_exactly() -> None:
    sent = np.random.default_rng(1).integers(0, 4000, (9, 7), dtype=np.uint16)
    png = cv2.imencode('.png', sent)[1].tobytes()
    message = compressed(bytes(12) + png, '16UC1; compressedDepth png')
    np.testing.assert_array_equal(decode_image(message, modality='depth').array, sent)


def test_inverse_depth_becomes_metres() -> None:
    metres = np.array([[0.5, 1.0, 2.0, np.nan]], np.float32)
    quant_a, quant_b = 1000.0, 1.0
    coded = np.where(np.isnan(metres), 0, quant_a / metres + quant_b).round().astype(np.uint16)
    header = struct.pack('<iff', 0, quant_a, quant_b)
    png = cv2.imencode('.png', coded)[1].tobytes()
    found = decode_image(compressed(header + png, '32FC1; compressedDepth png'), modality='depth')
    np.testing.assert_allclose(found.array, metres, rtol=1e-2)


def encode_rvl(depth: np.ndarray) -> bytes:
    """The coder of the paper, written from its description."""
    nibbles: list[int] = []

    def number(value: int) -> None:
        while True:
            low, value = value & 7, value >> 3
            nibbles.append(low | (8 if value else 0))
            if not value:
                return

    flat, at, previous = depth.ravel().astype(int).tolist(), 0, 0
    while at < len(flat):
        zeros = next((k for k, v in enumerate(flat[at:]) if v), len(flat) - at)
        at += zeros
        values = next((k for k, v in enumerate(flat[at:]) if not v), len(flat) - at)
        number(zeros)
        number(values)
        for value in flat[at : at + values]:
            delta, previous = value - previous, value
            number((delta << 1) ^ (delta >> 31))
        at += values
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(nibble << (28 - 4 * k) for k, nibble in enumerate(nibbles[start : start + 8]))
        for start in range(0, len(nibbles), 8)
    ]
    return struct.pack('<II', depth.shape[1], depth.shape[0]) + struct.pack(
        f'<{len(words)}I', *words
    )


@given(st.lists(st.integers(0, 65535) | st.just(0), min_size=12, max_size=12))
def test_rvl_is_decoded_exactly(values: list[int]) -> None:
    sent = np.array(values, np.uint16).reshape(3, 4)
    message = compressed(bytes(12) + encode_rvl(sent), '16UC1; compressedDepth rvl')
    np.testing.assert_array_equal(decode_image(message, modality='depth').array, sent)


@given(
    st.binary(max_size=200),
    st.sampled_from(['jpeg', 'png', '16UC1; compressedDepth png', '16UC1; compressedDepth rvl']),
    st.sampled_from(['image', 'depth', 'infrared']),
)
def test_undecodable_bytes_are_a_decode_error(
    data: bytes, description: str, modality: str
) -> None:
    with pytest.raises(DecodeError):
        decode_image(compressed(data, description), modality=modality)


def test_a_wrong_encoding_is_named_with_the_supported_ones() -> None:
    message = raw_image(np.zeros((2, 2), np.uint16), '16UC1')
    with pytest.raises(DecodeError, match=r"'16UC1' is no image, expected rgb8"):
        decode_image(message, modality='image')


def test_too_few_bytes_are_named() -> None:
    message = raw_image(np.zeros((4, 4), np.uint16), '16UC1')
    message.data = message.data[:-8]
    with pytest.raises(DecodeError, match='holds 24 bytes'):
        decode_image(message, modality='depth')


def test_stereo_chunks_are_split_by_channel() -> None:
    message = SimpleNamespace(
        samples=np.array([1, 10, 2, 20, 3, 30], np.int16), sample_rate_hz=8000, channels=2
    )
    found = decode_audio(message)
    np.testing.assert_array_equal(found.wave, [[1, 2, 3], [10, 20, 30]])
    assert found.rate_hz == 8000


def test_pcm_bytes_are_decoded() -> None:
    wave = np.array([-5, 0, 300], np.int16)
    found = decode_audio(SimpleNamespace(data=wave.tobytes()), rate_hz=44_100)
    np.testing.assert_array_equal(found.wave[0], wave)


def test_a_torn_stereo_chunk_is_an_error() -> None:
    message = SimpleNamespace(samples=np.zeros(5, np.int16), sample_rate_hz=8000, channels=2)
    with pytest.raises(DecodeError, match='5 samples do not divide into 2 channels'):
        decode_audio(message)
