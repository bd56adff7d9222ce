"""Sound of both packages `audio_common_msgs`, told apart by what a message has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import AudioOptions, DecodeError, decode_audio

ARRAYS = ('float32_data', 'int32_data', 'int16_data', 'int8_data', 'uint8_data')
HALF = [0.5, -0.5, 0.25, 0.0]


def typed(name: str, samples: np.ndarray, number: int, *, channels: int = 1) -> Any:
    """AudioStamped of the package with one array per kind of sample."""
    data = SimpleNamespace(**{each: [] for each in ARRAYS} | {name: samples})
    info = SimpleNamespace(format=number, channels=channels, rate=44_100, chunk=len(samples))
    return SimpleNamespace(audio=SimpleNamespace(audio_data=data, info=info))


@pytest.mark.parametrize(
    ('name', 'samples', 'number'),
    [
        ('float32_data', np.array(HALF, np.float32), 1),
        ('int32_data', (np.array(HALF) * 2**31).astype(np.int32), 2),
        ('int16_data', (np.array(HALF) * 2**15).astype(np.int16), 8),
        ('int8_data', (np.array(HALF) * 2**7).astype(np.int8), 16),
        ('uint8_data', (np.array(HALF) * 2**7 + 128).astype(np.uint8), 32),
    ],
)
def test_every_kind_of_sample_is_the_same_sound(
    name: str, samples: np.ndarray, number: int
) -> None:
    for told in (number, 0):  # 0: the message does not say
        found = decode_audio(typed(name, samples, told))
        scale = 1.0 if found.wave.dtype == np.float32 else 2.0**-15
        np.testing.assert_allclose(found.wave[0] * scale, HALF, atol=1e-3)
        assert found.rate_hz == 44_100


def test_interleaved_channels_of_a_typed_message_are_split() -> None:
    found = decode_audio(typed('int16_data', np.array([1, 9, 2, 8], np.int16), 8, channels=2))
    np.testing.assert_array_equal(found.wave, [[1, 2], [9, 8]])


@pytest.mark.parametrize(
    ('sample_format', 'dtype'),
    [('S16LE', '<i2'), ('S16BE', '>i2'), ('S32LE', '<i4'), ('F32LE', '<f4'), ('F32BE', '>f4')],
)
def test_bytes_are_read_in_the_given_format(sample_format: str, dtype: str) -> None:
    full = {'i': 2.0 ** (8 * np.dtype(dtype).itemsize - 1), 'f': 1.0}[np.dtype(dtype).kind]
    data = (np.array(HALF) * full).astype(dtype).tobytes()
    stamped = SimpleNamespace(header=None, audio=SimpleNamespace(data=data))
    found = decode_audio(stamped, rate_hz=48_000, sample_format=sample_format)
    scale = 1.0 if found.wave.dtype == np.float32 else 2.0**-15
    np.testing.assert_allclose(found.wave[0] * scale, HALF, atol=1e-3)
    assert found.rate_hz == 48_000


def test_mp3_is_named_with_its_remedy_and_pcm_is_not_mistaken_for_it() -> None:
    header = bytes([0xFF, 0xFB, 0x90, 0x00])  # MPEG 1 layer III, 128 kbit/s, 44.1 kHz
    frame = header + bytes(417 - 4)
    for data in (frame * 2, b'ID3' + bytes(7)):
        with pytest.raises(DecodeError, match='format:=wave') as caught:
            decode_audio(SimpleNamespace(data=data))
        assert caught.value.fault == 'encoding'
    assert decode_audio(SimpleNamespace(data=header * 64)).wave.shape == (1, 128)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300))
def test_any_pcm_is_decoded(samples: list[int]) -> None:
    wave = np.array(samples, np.int16)
    found = decode_audio(SimpleNamespace(data=wave.tobytes()))
    np.testing.assert_array_equal(found.wave[0], wave)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'rate': 12}, '12 Hz'),
        ({'rate': 4_000_000_000}, '4000000000 Hz'),
        ({'channels': 200}, '200 channels'),
    ],
)
def test_impossible_descriptions_are_refused(change: dict[str, int], says: str) -> None:
    sent = typed('int16_data', np.zeros(200, np.int16), 8)
    vars(sent.audio.info).update(change)
    with pytest.raises(DecodeError, match=says):
        decode_audio(sent)


def test_samples_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DecodeError, match='1 of 2 samples are not finite'):
        decode_audio(typed('float32_data', np.array([np.nan, 0.1], np.float32), 1))


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(DecodeError, match='no samples'):
        decode_audio(typed('int16_data', np.zeros(0, np.int16), 8))
    with pytest.raises(DecodeError, match='0 samples'):
        decode_audio(SimpleNamespace(data=b''))


def test_options_are_checked() -> None:
    for wrong in ({'rate_hz': 1}, {'channels': 0}, {'sample_format': 'MP3'}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AudioOptions(**wrong)
