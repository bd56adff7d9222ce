"""From a sensor's message to a unit vector: what the worker knows of both, and the two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders import MODALITIES, Binder, ImageOptions, decode_image
from encoders.columns import ColumnStore
from lb_ros.arrival import Arrival
from lb_ros.content_check import ContentCheck
from lb_ros.health import InputHealth
from lb_ros.slot import NewestSlot
from lb_ros.sound_input import SoundInput


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
    columns: ColumnStore = field(default_factory=ColumnStore)


@dataclass(frozen=True, slots=True)
class Ready:
    """A preprocessed sample on its way into the network."""

    sensor: str
    modality: str
    arrival: Arrival
    inputs: Tensor
    valid: float
    start_ns: int
    wait_ms: float
    decode_ms: float
    preprocess_ms: float


def decode(sensor: Sensor, arrival: Arrival) -> tuple[Any, int]:
    """The raw sample and the time of its beginning."""
    if MODALITIES[sensor.modality].kind == 'sound':
        window = arrival.message
        return (window.wave, window.rate_hz), window.start_ns
    image = decode_image(arrival.message, modality=sensor.modality, options=sensor.images)
    return image.array, arrival.stamp_ns


def preprocess(binder: Binder, sensor: Sensor, arrival: Arrival, raw: Any) -> tuple[Tensor, float]:
    """The network's input `[1, ...]` of a raw sample, and its valid share, 0..1.

    Of sound, what the window before has in common with this one is not computed again.

    Raises what `Binder.preprocess_with_validity` raises.
    """
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
