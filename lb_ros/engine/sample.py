"""From a sensor's message to a unit vector: what the worker knows of both, and the two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders import MODALITIES, Binder, ImageOptions, Objection, decode_image
from encoders.decode import DecodeError
from encoders.decode.streams import evenly
from encoders.preprocess.columns import ColumnStore
from encoders.preprocess.frames import FrameStore
from lb_ros.engine.arrival import Arrival
from lb_ros.engine.clip_input import ClipInput, Picture
from lb_ros.engine.content_check import ContentCheck, Finding
from lb_ros.engine.health import InputHealth
from lb_ros.engine.slot import NewestSlot
from lb_ros.engine.sound_input import SoundInput


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the worker knows of one input."""

    modality: str
    source: str
    slot: NewestSlot[Arrival]
    health: InputHealth
    content: ContentCheck
    sound: SoundInput
    images: ImageOptions
    pictures: ClipInput
    columns: ColumnStore = field(default_factory=ColumnStore)
    frames: FrameStore = field(default_factory=FrameStore)


@dataclass(frozen=True, slots=True)
class Ready:
    """A preprocessed sample on its way into the network.

    `invalid_reason` says why predicates must not count it; empty where they may.
    """

    sensor: str
    modality: str
    arrival: Arrival
    inputs: Tensor
    valid: float
    start_ns: int
    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    invalid_reason: str = ''


def put_together(sensor: Sensor, arrival: Arrival) -> tuple[Arrival, tuple[str, str] | None]:
    """An arrival with the window that its message ends, and a fault with a line, or None.

    The message becomes the window of sound so far, or the pictures from which a clip is taken; an
    image is its own window.

    Raises:
        DecodeError: Sound cannot be decoded.
    """
    kind = MODALITIES[sensor.modality].kind
    if kind == 'clip':
        pictures = sensor.pictures.add(arrival.message, stamp_ns=arrival.stamp_ns)
        return replace(arrival, message=pictures), None
    if kind == 'sound':
        window, end_ns, fault = sensor.sound.add(
            arrival.message, stamp_ns=arrival.stamp_ns, stamped=arrival.stamped
        )
        return Arrival(window, end_ns, arrival.frame_id, arrival.arrived_s), fault
    return arrival, None


@dataclass(frozen=True, slots=True)
class Clip:
    """Stamps of the frames of a clip, and those of its pictures that are not preprocessed yet."""

    stamps_ns: tuple[int, ...]
    new: dict[int, NDArray[np.uint8]]


def decode(binder: Binder, sensor: Sensor, arrival: Arrival) -> tuple[Any, int]:
    """The raw sample (of a clip, see `Clip`) and the time of its beginning.

    Raises:
        DecodeError: A message cannot be decoded.
        KeyError: The model set has no encoder for it.
    """
    kind = MODALITIES[sensor.modality].kind
    if kind == 'sound':
        window = arrival.message
        return (window.wave, window.rate_hz), window.start_ns
    if kind == 'clip':
        clip = _decode_clip(binder, sensor, arrival.message)
        return clip, clip.stamps_ns[0]
    return _decode_picture(sensor, arrival.message), arrival.stamp_ns


def _decode_picture(sensor: Sensor, message: Any) -> NDArray[Any]:
    return decode_image(message, modality=sensor.modality, options=sensor.images).array


def _decode_clip(binder: Binder, sensor: Sensor, pictures: Sequence[Picture]) -> Clip:
    config: Any = binder.preprocessing[sensor.modality]
    stamps_ns = [picture.stamp_ns for picture in pictures]
    sensor.frames.keep(stamps_ns, what=config)
    chosen = [pictures[index] for index in evenly(stamps_ns, config.frames)]
    new: dict[int, NDArray[np.uint8]] = {}
    for picture in chosen:
        if picture.stamp_ns not in sensor.frames and picture.stamp_ns not in new:
            try:
                new[picture.stamp_ns] = _decode_picture(sensor, picture.message)
            except DecodeError:
                sensor.pictures.discard(picture)  # it would spoil the following clips as well
                raise
    return Clip(tuple(picture.stamp_ns for picture in chosen), new)


def findings(sensor: Sensor, raw: Any) -> list[Finding]:
    """What the content of a raw sample, of a clip its newest picture, shows."""
    newest = raw.new.get(raw.stamps_ns[-1]) if isinstance(raw, Clip) else raw
    return [] if newest is None else sensor.content.check(newest)


def objection(binder: Binder, sensor: Sensor, raw: Any) -> Objection | None:
    """Why a raw sample can be encoded but is no evidence for predicates; None where it is."""
    if isinstance(raw, Clip):
        return None
    return binder.objection(sensor.modality, raw, options=sensor.images)


def preprocess(binder: Binder, sensor: Sensor, arrival: Arrival, raw: Any) -> tuple[Tensor, float]:
    """The network's input `[1, ...]` of a raw sample, and its valid share, 0..1.

    What a window of sound has in common with the one before, and pictures that were in a clip
    before, are not computed again. Of a clip the share is that of its window that it spans.

    Raises what `Binder.preprocess_with_validity` raises.
    """
    if isinstance(raw, Clip):
        for stamp_ns, picture in raw.new.items():
            sensor.frames.add(stamp_ns, binder.preprocess_picture(sensor.modality, picture))
        span_s = (raw.stamps_ns[-1] - raw.stamps_ns[0]) * 1e-9
        inputs = sensor.frames.clip(raw.stamps_ns).unsqueeze(0)
        return inputs, min(1.0, span_s / sensor.pictures.length_s)
    is_sound = MODALITIES[sensor.modality].kind == 'sound'
    columns = sensor.columns.until(arrival.message.end) if is_sound else None
    return binder.preprocess_with_validity(sensor.modality, raw, columns=columns)


def encode(binder: Binder, samples: Sequence[Ready]) -> list[NDArray[np.float32]]:
    """Unit vectors of samples, those of one modality in one batch."""
    together: dict[str, list[Tensor]] = {}
    for sample in samples:
        together.setdefault(sample.modality, []).append(sample.inputs)
    vectors = binder.encode({name: torch.cat(inputs) for name, inputs in together.items()})
    rows = {name: iter(found) for name, found in vectors.items()}
    return [next(rows[sample.modality]) for sample in samples]
