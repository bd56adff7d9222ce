"""Sound messages to waves: AudioChunk and both audio_common_msgs in use, told by shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """`wave`: int16 or float32 `[channels, samples]`; `rate_hz`: samples per second."""

    wave: NDArray[Any]
    rate_hz: int


def decode_audio(message: Any, *, rate_hz: int = 16_000, channels: int = 1) -> DecodedAudio:
    """Decode a sound message.

    Args:
        message: AudioChunk (samples, sample_rate_hz), audio_common_msgs AudioStamped (audio,
        info) or
            AudioData / AudioDataStamped (bytes of int16 PCM).
        rate_hz: Rate of messages that do not carry one.
        channels: Channels of messages that do not say.

    Raises:
        DecodeError: The message has another shape, or its length does not fit its channels.
    """
    if hasattr(message, 'samples') and hasattr(message, 'sample_rate_hz'):
        wave = np.asarray(message.samples, np.int16)
        return _split(wave, int(message.channels), int(message.sample_rate_hz))
    if hasattr(message, 'info') and hasattr(message, 'audio'):
        info = message.info
        rate = int(getattr(info, 'rate', 0) or getattr(info, 'sample_rate', 0) or rate_hz)
        count = int(getattr(info, 'channels', channels) or channels)
        return _split(_stamped_wave(message.audio), count, rate)
    if hasattr(message, 'audio'):  # AudioDataStamped wraps AudioData
        message = message.audio
    if hasattr(message, 'data'):
        raw = np.frombuffer(memoryview(message.data), np.uint8)
        if len(raw) % 2:
            raise DecodeError(f'{len(raw)} bytes are not a whole number of 16-bit samples')
        return _split(raw.view('<i2').astype(np.int16), channels, rate_hz)
    raise DecodeError(f'{type(message).__name__} is no known sound message')


def _stamped_wave(audio: Any) -> NDArray[Any]:
    data = getattr(audio, 'audio_data', audio)
    for name in ('int16_data', 'float32_data', 'data'):
        values = getattr(data, name, None)
        if values is not None and len(values):
            kind = np.float32 if name == 'float32_data' else np.int16
            return np.asarray(values, kind)
    raise DecodeError('the sound message holds neither int16 nor float32 samples')


def _split(wave: NDArray[Any], channels: int, rate_hz: int) -> DecodedAudio:
    if rate_hz <= 0:
        raise DecodeError(f'sampling rate {rate_hz} Hz is not positive')
    if channels < 1 or len(wave) % channels:
        raise DecodeError(f'{len(wave)} samples do not divide into {channels} channels')
    return DecodedAudio(wave.reshape(-1, channels).T, rate_hz)
