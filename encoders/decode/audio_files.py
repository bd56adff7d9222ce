"""Audio files inside messages, where samples are expected.

A WAV file describes its samples and is read. Other files are refused: their bytes are compressed,
and interpreted as samples they are loud noise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError
from encoders.decode.mp3 import is_mp3

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# Format tag and bytes per sample -> dtype; 24 bits are widened to 32.
WAV_DTYPES = {(PCM, 1): 'u1', (PCM, 2): '<i2', (PCM, 4): '<i4', (FLOAT, 4): '<f4'}
FORMAT_BYTES = 16
ENCODED = {
    b'fLaC': 'FLAC',
    b'OggS': 'OGG',
    b'FORM': 'AIFF',
    b'caff': 'CAF',
    b'\x1aE\xdf\xa3': 'WebM',
    b'#!AMR': 'AMR',
}
ADTS = (b'\xff\xf1', b'\xff\xf9')
MIN_BYTES = 12  # fewer bytes cannot be distinguished from samples


class EncodedSoundError(DecodeError):
    """A message contains an encoded file or a part of one."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'the sound is {name}, expected wave: start its publisher with format:=wave',
            fault='encoding',
        )


@dataclass(frozen=True, slots=True)
class WavFile:
    """Interleaved samples of a WAV file in their own dtype, its rate and number of channels."""

    samples: NDArray[Any]
    rate_hz: int
    channels: int


def encoded_format(raw: bytes) -> str:
    """Return the format of an encoded file or stream; empty if the bytes may be samples.

    Only the beginning of a stream is recognised; bytes from its middle look like samples.
    """
    if is_mp3(raw):
        return 'mp3'
    if len(raw) < MIN_BYTES:
        return ''
    if raw[4:8] == b'ftyp':
        return 'MP4'
    if _is_adts(raw):
        return 'AAC'
    return next((name for magic, name in ENCODED.items() if raw.startswith(magic)), '')


def _is_adts(raw: bytes) -> bool:
    """Whether frame follows frame; one header alone is also the beginning of quiet samples."""
    length = (raw[3] & 3) << 11 | raw[4] << 3 | raw[5] >> 5
    follows = raw[length : length + 2]
    return raw.startswith(ADTS) and length >= 7 and (follows in ADTS or length == len(raw))


def refuse_encoded(raw: bytes) -> None:
    """Raise if the bytes are the beginning of an encoded file.

    Raises:
        EncodedSoundError: The message names the format and the remedy.
    """
    name = encoded_format(raw)
    if name:
        raise EncodedSoundError(name)


def read_wav(raw: bytes) -> WavFile | None:
    """Return the samples of a WAV file, complete or still being written; None for other bytes.

    Raises:
        DecodeError: The file has an unsupported sample format, or no samples.
    """
    if len(raw) < MIN_BYTES or raw[:4] not in (b'RIFF', b'RF64') or raw[8:12] != b'WAVE':
        return None
    at, described = MIN_BYTES, None
    while at + 8 <= len(raw):
        kind, length = struct.unpack('<4sI', raw[at : at + 8])
        body = raw[at + 8 : at + 8 + length]
        if kind == b'fmt ' and len(body) >= FORMAT_BYTES:
            described = body
        if kind == b'data' and described is not None:
            return _wav_samples(described, body)
        at += 8 + length + length % 2
    raise DecodeError('a WAV file without samples', fault='size')


def _wav_samples(described: bytes, body: bytes) -> WavFile:
    tag, channels, rate_hz, _, block, bits = struct.unpack('<HHIIHH', described[:FORMAT_BYTES])
    if tag == EXTENSIBLE and len(described) >= 26:
        (tag,) = struct.unpack('<H', described[24:26])
    size = bits // 8
    whole = body[: len(body) // max(1, block) * max(1, block)]
    if (tag, size) == (PCM, 3):
        wide = np.zeros((len(whole) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(whole, np.uint8)[: len(wide) * 3].reshape(-1, 3)
        return WavFile(wide.view('<i4').ravel(), rate_hz, channels)
    if (tag, size) not in WAV_DTYPES:
        raise DecodeError(
            f'a WAV file of format {tag} with {bits} bits a sample, expected PCM or float',
            fault='encoding',
        )
    whole = whole[: len(whole) // size * size]
    return WavFile(np.frombuffer(whole, WAV_DTYPES[tag, size]), rate_hz, channels)
