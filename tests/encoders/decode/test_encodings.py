"""Every encoding that robots send, against pictures whose colours are known."""

from __future__ import annotations

import resource
import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from encoders import DecodeError, ImageOptions, decode_image

ROWS, COLUMNS = 8, 12
ORANGE = (200, 120, 40)


def message(data: np.ndarray, encoding: str, *, width: int, height: int, big: bool = False) -> Any:
    rows = data.reshape(len(data), -1)
    if big:
        rows = rows.astype(rows.dtype.newbyteorder('>'))
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(data), -1)
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, step=raw.shape[1],
        is_bigendian=int(big), data=raw.tobytes(),
    )  # fmt: skip


def image(data: np.ndarray, encoding: str, **options: bool) -> Any:
    return message(data, encoding, width=COLUMNS, height=ROWS, **options)


def orange() -> np.ndarray:
    return np.broadcast_to(np.array(ORANGE, np.uint8), (ROWS, COLUMNS, 3)).copy()


def mosaic(pattern: str, kind: type) -> np.ndarray:
    """A Bayer picture of one colour, from the definition of the pattern's name."""
    values = dict(zip('rgb', ORANGE, strict=True))
    cells = np.array([values[c] for c in pattern], kind).reshape(2, 2)
    return np.tile(cells * (257 if kind is np.uint16 else 1), (ROWS // 2, COLUMNS // 2)).astype(
        kind
    )


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_every_bayer_order_gives_the_colour_back(pattern: str, bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    sent = image(mosaic(pattern, kind), f'bayer_{pattern}{bits}')
    found = decode_image(sent, modality='image').array
    np.testing.assert_array_equal(found, orange())


def luma_chroma(rgb: np.ndarray) -> tuple[int, int, int]:
    return tuple(cv2.cvtColor(rgb[:2, :2], cv2.COLOR_RGB2YUV_I420).ravel()[[0, 4, 5]])


@pytest.mark.parametrize('encoding', ['yuyv', 'yuv422_yuy2', 'uyvy', 'yuv422', 'nv12', 'nv21'])
def test_every_yuv_layout_gives_the_colour_back(encoding: str) -> None:
    y, u, v = luma_chroma(orange())
    if encoding.startswith('nv'):
        pair = [u, v] if encoding == 'nv12' else [v, u]
        colours = np.tile(np.array(pair, np.uint8), (ROWS // 2, COLUMNS // 2))
        data = np.concatenate([np.full((ROWS, COLUMNS), y, np.uint8), colours])
    else:
        four = [y, u, y, v] if encoding in ('yuyv', 'yuv422_yuy2') else [u, y, v, y]
        data = np.tile(np.array(four, np.uint8), (ROWS, COLUMNS // 2))
    found = decode_image(image(data, encoding), modality='image').array
    assert found.shape == (ROWS, COLUMNS, 3)
    np.testing.assert_allclose(found, orange(), atol=3)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('encoding', ['rgb16', 'bgr16', 'rgba16', 'bgra16', 'mono16'])
def test_sixteen_bits_keep_the_upper_eight(encoding: str, big: bool) -> None:
    wide = orange().astype(np.uint16) * 257
    opaque = np.full((ROWS, COLUMNS, 1), 65535, np.uint16)
    sent = {
        'rgb16': wide,
        'bgr16': wide[..., ::-1],
        'rgba16': np.concatenate([wide, opaque], -1),
        'bgra16': np.concatenate([wide[..., ::-1], opaque], -1),
        'mono16': wide[..., 0],
    }[encoding]
    found = decode_image(image(np.ascontiguousarray(sent), encoding, big=big), modality='image')
    wanted = np.repeat(orange()[..., :1], 3, -1) if encoding == 'mono16' else orange()
    np.testing.assert_array_equal(found.array, wanted)


def test_nv12_with_odd_or_missing_rows_is_an_error_and_no_crash() -> None:
    data = np.zeros((ROWS, COLUMNS), np.uint8)
    with pytest.raises(DecodeError, match='12 rows') as caught:
        decode_image(image(data, 'nv12'), modality='image')
    assert caught.value.fault == 'size'
    odd = message(np.zeros((12, 7), np.uint8), 'nv12', width=7, height=7)
    with pytest.raises(DecodeError, match='nv12 image of 7x7'):
        decode_image(odd, modality='image')


def test_the_last_row_may_lack_its_padding() -> None:
    sent = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS)
    padded = image(np.pad(sent, ((0, 0), (0, 2))), '16UC1')
    padded.data = padded.data[:-4]
    np.testing.assert_array_equal(decode_image(padded, modality='depth').array, sent)


def test_mono16_is_depth_only_where_configured() -> None:
    sent = image(np.full((ROWS, COLUMNS), 1500, np.uint16), 'mono16')
    with pytest.raises(DecodeError, match='mono16_is_depth') as caught:
        decode_image(sent, modality='depth')
    assert caught.value.fault == 'encoding'
    told = decode_image(sent, modality='depth', options=ImageOptions(mono16_is_depth=True))
    assert (told.array == 1500).all()


@pytest.mark.parametrize(
    ('per_count', 'at_zero', 'counts', 'kelvin'),
    [(0.01, 0.0, 30_000, 300.0), (0.1, 0.0, 3000, 300.0), (0.1, 173.15, 1268, 299.95)],
    ids=['lepton-high-gain', 'lepton-low-gain', 'optris'],
)
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_radiometric_counts_become_centikelvin(
    encoding: str, per_count: float, at_zero: float, counts: int, kelvin: float
) -> None:
    raw = np.full((ROWS, COLUMNS), counts, np.uint16)
    raw[0, 0] = 0  # a dead pixel stays one
    options = ImageOptions(kelvin_per_count=per_count, kelvin_at_zero=at_zero)
    found = decode_image(image(raw, encoding), modality='infrared', options=options).array
    assert found.dtype == np.uint16
    assert found[0, 0] == 0
    assert found[1, 1] == round(kelvin * 100)


def test_float_kelvin_becomes_centikelvin_and_nan_a_dead_pixel() -> None:
    raw = np.full((ROWS, COLUMNS), 301.5, np.float32)
    raw[0, :3] = np.nan, np.inf, -1.0
    found = decode_image(image(raw, '32FC1'), modality='infrared').array
    assert found[0, :3].tolist() == [0, 0, 0]
    assert found[1, 1] == 30_150


def test_counts_without_temperature_become_grey_on_a_fixed_scale() -> None:
    raw = np.array([[1000, 1500, 2000, 60_000]], np.uint16)
    options = ImageOptions(kelvin_per_count=0.0, low_count=1000, high_count=2000)
    sent = message(raw, 'mono16', width=4, height=1)
    found = decode_image(sent, modality='infrared', options=options).array
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 128, 255, 255]]


def test_near_infrared_is_grey_and_never_a_temperature() -> None:
    options = ImageOptions(infrared_kind='near_infrared', high_count=1023)
    raw = np.full((ROWS, COLUMNS), 1023, np.uint16)
    found = decode_image(image(raw, 'mono16'), modality='infrared', options=options).array
    assert (found == 255).all()
    with pytest.raises(DecodeError, match='no temperature'):
        decode_image(image(raw.astype(np.float32), '32FC1'), modality='infrared', options=options)
    with pytest.raises(ValueError, match='infrared_kind must be one of'):
        ImageOptions(infrared_kind='lwir')


def test_rows_of_telemetry_are_cut_off() -> None:
    raw = np.full((ROWS, COLUMNS), 30_000, np.uint16)
    raw[-2:] = 7
    found = decode_image(
        image(raw, 'mono16'), modality='infrared', options=ImageOptions(telemetry_rows=2)
    ).array
    assert found.shape == (ROWS - 2, COLUMNS)
    assert (found == 30_000).all()


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_grey_pictures_with_colour_channels_are_infrared(extension: str) -> None:
    grey = np.full((16, 16, 3), 90, np.uint8)
    data = cv2.imencode(extension, grey)[1].tobytes()
    found = decode_image(SimpleNamespace(format='jpeg', data=data), modality='infrared').array
    assert found.shape == (16, 16)
    np.testing.assert_allclose(found, 90, atol=1)


@pytest.mark.parametrize(
    ('encoding', 'modality', 'height', 'width', 'step'),
    [
        ('16UC1', 'depth', 0, 0, 0),
        ('16UC1', 'depth', 2, 4, 7),
        ('rgb8', 'image', 10_000, 10_000, 30_000),
        ('32FC1', 'depth', 2, 2, 1 << 31),
        ('mono8', 'infrared', 1 << 31, 1 << 31, 1 << 31),
    ],
)
def test_false_sizes_are_refused_before_allocation(
    encoding: str, modality: str, height: int, width: int, step: int
) -> None:
    lie = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=0, data=bytes(64)
    )
    with pytest.raises(DecodeError) as caught:
        decode_image(lie, modality=modality)
    assert caught.value.fault == 'size'


def test_a_png_header_of_gigapixels_is_refused_before_decoding() -> None:
    bomb = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', 60_000, 60_000) + bytes(20)
    with pytest.raises(DecodeError, match='60000x60000'):
        decode_image(SimpleNamespace(format='png', data=bomb), modality='image')


@pytest.mark.parametrize('words', [[0] * 5000, [0xFFFFFFFF] * 5000])
def test_rvl_without_end_is_refused(words: list[int]) -> None:
    raw = bytes(12) + struct.pack('<II', 640, 480) + struct.pack(f'<{len(words)}I', *words)
    with pytest.raises(DecodeError, match='rvl'):
        decode_image(
            SimpleNamespace(format='16UC1; compressedDepth rvl', data=raw), modality='depth'
        )


def png_of_chunks(*chunks: tuple[bytes, int]) -> bytes:
    """A PNG of 16x16 whose chunks claim the lengths given and hold nothing."""
    head = struct.pack('>II5B', 16, 16, 16, 0, 0, 0, 0)
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4s', 13, b'IHDR') + head + bytes(4)
    return png + b''.join(struct.pack('>I4s', length, kind) + bytes(4) for kind, length in chunks)


@pytest.mark.parametrize('kind', [b'IDAT', b'zTXt', b'IEND'])
def test_a_png_chunk_of_gigabytes_is_refused_before_decoding(kind: bytes) -> None:
    sent = png_of_chunks((kind, 0x7FFF_FFF0), (b'IEND', 0))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DecodeError, match='damaged picture'):
        decode_image(SimpleNamespace(format='png', data=sent), modality='depth')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200_000


def test_a_png_truncated_anywhere_is_refused() -> None:
    whole = cv2.imencode('.png', np.arange(400, dtype=np.uint16).reshape(20, 20))[1].tobytes()
    assert decode_image(SimpleNamespace(format='png', data=whole), modality='depth').array.any()
    for size in range(8, len(whole)):
        with pytest.raises(DecodeError):
            decode_image(SimpleNamespace(format='png', data=whole[:size]), modality='depth')
