"""Audio messages to waves: AudioChunk and both packages `audio_common_msgs`, by their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.audio_files import read_wav, refuse_encoded
from encoders.decode.errors import DecodeError
from encoders.decode.raw_bytes import bytes_of

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64
# Names of GStreamer, as in audio_common_msgs/AudioInfo.
SAMPLE_FORMATS = {'S8': 'i1', 'U8': 'u1', 'S16LE': '<i2', 'S16BE': '>i2', 'S32LE': '<i4',
                  'S32BE': '>i4', 'F32LE': '<f4', 'F32BE': '>f4'}  # fmt: skip
# Formats of PortAudio, as in the other AudioInfo; each has its own array in the message.
PORTAUDIO = {1: 'float32_data', 2: 'int32_data', 8: 'int16_data', 16: 'int8_data',
             32: 'uint8_data'}  # fmt: skip
DTYPES = {'float32_data': 'f4', 'int32_data': 'i4', 'int16_data': 'i2', 'int8_data': 'i1',
          'uint8_data': 'u1'}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """Format of audio messages without a description.

    Attributes:
        rate_hz: Samples per second and channel.
        channels: Number of interleaved channels.
        sample_format: One of `SAMPLE_FORMATS`.

    Raises:
        ValueError: A value is out of range.
    """

    rate_hz: int = 16_000
    channels: int = 1
    sample_format: str = 'S16LE'

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise ValueError(f'rate_hz must be {MIN_RATE_HZ}..{MAX_RATE_HZ}, not {self.rate_hz}')
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f'channels must be 1..{MAX_CHANNELS}, not {self.channels}')
        if self.sample_format not in SAMPLE_FORMATS:
            known = ', '.join(SAMPLE_FORMATS)
            raise ValueError(f'sample_format must be one of {known}, not {self.sample_format!r}')


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """`wave`: int16 or float32 `[channels, samples]`; `rate_hz`: samples per second.

    `repaired` describes errors of the message that were corrected; empty for none.
    """

    wave: NDArray[Any]
    rate_hz: int
    repaired: str = ''


def decode_audio(
    message: Any, *, rate_hz: int = 16_000, channels: int = 1, sample_format: str = 'S16LE'
) -> DecodedAudio:
    """Decode an audio message.

    Args:
        message: lb_ros AudioChunk (`samples`, `sample_rate_hz`); AudioData or AudioDataStamped of
            the audio_common_msgs with bytes; AudioStamped, Audio or AudioData of the one with an
            array per sample type.
        rate_hz: Rate of messages without one.
        channels: Number of channels of messages without one.
        sample_format: Format of messages that contain bytes.

    Raises:
        DecodeError: The message has unknown fields, its length does not fit its channels, its rate
            is impossible, its samples are not finite, or it contains an encoded file.
    """
    if hasattr(message, 'samples') and hasattr(message, 'sample_rate_hz'):
        wave = np.asarray(message.samples, np.int16)
        return _read(wave, int(message.channels), int(message.sample_rate_hz))
    info = None
    while hasattr(message, 'audio'):  # AudioStamped and AudioDataStamped wrap their content
        info, message = getattr(message, 'info', info), message.audio
    if hasattr(message, 'audio_data'):
        info, message = getattr(message, 'info', info), message.audio_data
    if info is not None:
        rate_hz = int(getattr(info, 'rate', 0) or getattr(info, 'sample_rate', 0) or rate_hz)
        channels = int(getattr(info, 'channels', 0) or channels)
    if any(hasattr(message, name) for name in DTYPES):
        return _read(_typed(message, int(getattr(info, 'format', 0))), channels, rate_hz)
    if hasattr(message, 'data'):
        return _read(bytes_of(message.data), channels, rate_hz, sample_format=sample_format)
    raise DecodeError(f'{type(message).__name__} is no known sound message', fault='encoding')


def _read(
    samples: NDArray[Any], channels: int, rate_hz: int, *, sample_format: str = ''
) -> DecodedAudio:
    """Decode samples, or the file whose bytes they are; a WAV file's header gives its format.

    `sample_format` is the format of bytes, empty if the samples are typed.
    """
    if samples.dtype.itemsize <= 2:  # files arrive as bytes, or as int16 if taken for samples
        raw = samples.tobytes()
        file = read_wav(raw)
        if file is not None:
            found = _split(_as_wave(file.samples), file.channels, file.rate_hz)
            line = f'a WAV file instead of samples; read at its {file.rate_hz} Hz'
            return DecodedAudio(found.wave, found.rate_hz, line)
        refuse_encoded(raw)
    wave = _as_samples(samples, sample_format) if sample_format else samples
    return _split(_as_wave(wave), channels, rate_hz)


def _typed(data: Any, number: int) -> NDArray[Any]:
    """Return the array with samples; the format number may select it."""
    names = [PORTAUDIO[number]] if number in PORTAUDIO else []
    for name in (*names, *DTYPES):
        values = getattr(data, name, None)
        if values is not None and len(values):
            values = bytes_of(values) if name == 'uint8_data' else values
            return np.asarray(values, DTYPES[name])
    raise DecodeError('the sound message holds no samples', fault='size')


def _as_samples(data: NDArray[np.uint8], sample_format: str) -> NDArray[Any]:
    dtype = np.dtype(SAMPLE_FORMATS[sample_format])
    if len(data) % dtype.itemsize:
        raise DecodeError(
            f'{len(data)} bytes are not a whole number of {8 * dtype.itemsize}-bit samples',
            fault='size',
        )
    return np.frombuffer(data.tobytes(), dtype)


def _as_wave(samples: NDArray[Any]) -> NDArray[Any]:
    """Convert samples to int16, or to float32 with full scale -1..1."""
    kind = samples.dtype.kind + str(samples.dtype.itemsize)
    if kind == 'i1':
        return samples.astype(np.int16) << 8
    if kind == 'u1':
        return (samples.astype(np.int16) - 128) << 8
    if kind == 'i4':
        return (samples * 2.0**-31).astype(np.float32)
    return samples.astype(samples.dtype.newbyteorder('='), copy=False)


def _split(wave: NDArray[Any], channels: int, rate_hz: int) -> DecodedAudio:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise DecodeError(
            f'sampling rate {rate_hz} Hz is not {MIN_RATE_HZ}..{MAX_RATE_HZ}', fault='size'
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise DecodeError(f'{channels} channels are not 1..{MAX_CHANNELS}', fault='size')
    if not len(wave) or len(wave) % channels:
        raise DecodeError(
            f'{len(wave)} samples do not divide into {channels} channels', fault='size'
        )
    if wave.dtype.kind == 'f':
        broken = int(np.count_nonzero(~np.isfinite(wave)))
        if broken:
            raise DecodeError(f'{broken} of {len(wave)} samples are not finite')
    return DecodedAudio(wave.reshape(-1, channels).T, rate_hz)
