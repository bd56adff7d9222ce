"""A pair, and the file formats of its sensor samples."""

from __future__ import annotations

import io
import re
import wave
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import Series
from encoders.modalities import MODALITIES

JPEG_QUALITY = 95
MAX_DEPTH_MM = 65_535
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence about a window.

    Attributes:
        text: The sentence.
        source: Its origin: `predicate`, `annotation`, `task`, `sidecar`, `note`, or how it was
            derived from another sentence: `template`, `paraphrase`, `caption`, `refined`.
        maker: Name of the captioner or refiner; empty for texts of a person or a simulator.
    """

    text: str
    source: str
    maker: str = ''


@dataclass(frozen=True, slots=True)
class Pair:
    """A window of a bag with its sentences.

    Attributes:
        key: Unique in its data set; without dots.
        bag: Name of the bag.
        start_ns, end_ns: Time range of the window, on the clock of the stamps.
        files: File extension to bytes, for example `depth.png` (see `encode` and `decode`).
        texts: Sentences that are true of the window.
        facts: Predicates of the ground truth with their truth.
        generated: Modality to the name of the generator that predicted it; without measured
            modalities.
    """

    key: str
    bag: str
    start_ns: int
    end_ns: int
    files: Mapping[str, bytes]
    texts: tuple[Text, ...]
    facts: Mapping[str, bool] = field(default_factory=dict)
    generated: Mapping[str, str] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of its samples, sorted."""
        return tuple(sorted({name.split('.')[0] for name in self.files}))

    def described(self) -> dict[str, Any]:
        """Everything except the files, as JSON-compatible values."""
        return {
            'bag': self.bag,
            'start_ns': self.start_ns,
            'end_ns': self.end_ns,
            'texts': [asdict(text) for text in self.texts],
            'facts': dict(self.facts),
            'generated': dict(self.generated),
        }

    @classmethod
    def from_described(
        cls, key: str, values: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> Pair:
        """Create a pair from the values of `described`.

        Raises:
            KeyError, TypeError: A value is missing or unknown.
        """
        texts = tuple(Text(**text) for text in values['texts'])
        plain = {k: values[k] for k in ('bag', 'start_ns', 'end_ns')}
        return cls(
            key=key,
            files=files,
            texts=texts,
            facts=values.get('facts', {}),
            generated=values.get('generated', {}),
            **plain,
        )


def key_of(bag: str, end_ns: int) -> str:
    """A key without dots, because readers treat what follows the first dot as extension."""
    return f'{re.sub(r"[^0-9A-Za-z_-]", "_", bag)}_{end_ns}'


def encode(modality: str, sample: Any) -> dict[str, bytes]:
    """Encode one sample, as accepted by `encoders.Binder.embed`, as files.

    Images become JPEG, depth 16-bit PNG in millimetres (0 for holes), infrared PNG of its own bit
    depth, audio WAV, a clip one JPEG per frame, and series a NumPy archive.

    Raises:
        ValueError: The sample does not fit the modality.
    """
    known = MODALITIES[modality]
    if known.kind == 'sound':
        return {f'{modality}.wav': _wav(*sample)}
    if known.kind == 'series':
        return {f'{modality}.npz': _npz(sample)}
    if known.kind == 'clip':
        return {f'{modality}.{k}.jpg': _jpeg(frame) for k, frame in enumerate(sample)}
    if known.pixels == 'depth':
        return {f'{modality}.png': _png(_millimetres(sample))}
    if sample.ndim == 2:
        return {f'{modality}.png': _png(sample)}
    return {f'{modality}.jpg': _jpeg(sample)}


def decode(modality: str, files: Mapping[str, bytes]) -> Any:
    """Decode a sample, as accepted by `encoders.Binder.embed`, from the files of a pair.

    Raises:
        KeyError: The pair has no sample of this modality.
        ValueError: A file is damaged.
    """
    own = {name: data for name, data in files.items() if name.split('.')[0] == modality}
    if not own:
        raise KeyError(f'no {modality} in this pair')
    if MODALITIES[modality].kind == 'sound':
        return _read_wav(next(iter(own.values())))
    if MODALITIES[modality].kind == 'series':
        return _read_npz(next(iter(own.values())))
    if MODALITIES[modality].kind == 'clip':
        ordered = sorted(own, key=lambda name: int(name.split('.')[1]))
        return np.stack([_picture(own[name]) for name in ordered])
    name, data = next(iter(own.items()))
    plane = _picture(data)
    if MODALITIES[modality].pixels == 'depth' and plane.ndim == 3:
        raise ValueError(f'{name}: depth must have one channel')
    return plane


def _npz(series: Series) -> bytes:
    buffer = io.BytesIO()
    unknown = np.full(len(series.channels), np.nan)
    np.savez_compressed(
        buffer,
        values=series.values,
        stamps_s=series.stamps_s,
        channels=np.array(series.channels),
        baseline=unknown if series.baseline is None else series.baseline,
        frame_id=np.array(series.frame_id),
    )
    return buffer.getvalue()


def _read_npz(data: bytes) -> Series:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return Series(
                found['values'],
                found['stamps_s'],
                tuple(found['channels'].tolist()),
                baseline=found['baseline'],
                frame_id=str(found['frame_id']),
            )
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f'no series: {error}') from error


def _jpeg(rgb: Array) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f'a picture {list(rgb.shape)} {rgb.dtype} cannot be a JPEG')
    return bytes(data)


def _png(plane: Array) -> bytes:
    done, data = cv2.imencode('.png', plane)
    if not done:
        raise ValueError(f'a plane {list(plane.shape)} {plane.dtype} cannot be a PNG')
    return bytes(data)


def _millimetres(depth: Array) -> NDArray[np.uint16]:
    if depth.dtype == np.uint16:
        return depth
    metres = np.nan_to_num(depth.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(np.round(metres * 1000), 0, MAX_DEPTH_MM).astype(np.uint16)


def _picture(data: bytes) -> Array:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(f'{len(data)} bytes are no picture')
    if array.ndim == 3:
        return np.asarray(cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2RGB))
    return np.asarray(array)


def _wav(samples: Array, rate_hz: int) -> bytes:
    """Encode int16, or float in -1..1, `[samples]` or `[channels, samples]`, as WAV."""
    channels = np.atleast_2d(samples)
    if channels.dtype != np.int16:
        channels = np.round(np.clip(channels, -1, 1) * 32_767).astype(np.int16)
    buffer = io.BytesIO()
    with wave.open(buffer, 'wb') as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.ascontiguousarray(channels.T).astype('<i2').tobytes())
    return buffer.getvalue()


def _read_wav(data: bytes) -> tuple[NDArray[np.int16], int]:
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != 2:
                raise ValueError(f'{8 * file.getsampwidth()} bits a sample, expected 16')
            flat = np.frombuffer(file.readframes(file.getnframes()), '<i2')
            return flat.reshape(-1, file.getnchannels()).T.astype(np.int16), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise ValueError(f'no WAV: {error}') from error
