"""Steps from a sensor's message to an embedding, with the worker's records of both."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from encoders import MODALITIES, Binder, DecodeError, Evidence, ImageOptions, Objection
from encoders.decode.series_stream import SeriesStream
from encoders.decode.streams import Clip, ClipStream, Cut, Stream, Window
from encoders.decode.view import Place, view_of
from encoders.preprocess import is_series, stream_for
from encoders.preprocess.columns import ColumnStore
from encoders.preprocess.frames import FrameStore
from encoders.regions import modality_of
from lb_ros.engine.arrival import Encoded, Pending
from lb_ros.engine.content_check import ContentCheck, Finding
from lb_ros.engine.health import InputHealth
from lb_ros.engine.part import Part
from lb_ros.engine.series_remarks import Drift, series_remarks
from lb_ros.engine.slot import NewestSlot


@dataclass(frozen=True, slots=True)
class Sensor:
    """The worker's record of one input; `parts` are those of its view that are sensors."""

    modality: str
    source: str
    slot: NewestSlot[Pending]
    health: InputHealth
    content: ContentCheck
    stream: Stream
    images: ImageOptions
    parts: tuple[Part, ...] = ()
    drift: Drift = field(default_factory=Drift)
    columns: ColumnStore = field(default_factory=ColumnStore)
    frames: FrameStore = field(default_factory=FrameStore)

    @property
    def names(self) -> tuple[str, ...]:
        """The modality and the parts of its view, as the sink knows them."""
        return (self.modality, *(part.name for part in self.parts))


@dataclass(frozen=True, slots=True)
class Ready:
    """A preprocessed sample, ready for the network.

    `modality` is a modality or a part of its view (`depth@gripper`). `invalid_reason` states why
    predicates must not use it; empty if they may.
    """

    sensor: str
    modality: str
    source: str
    frame_id: str
    arrived_s: float
    inputs: Tensor
    valid: float
    start_ns: int
    stamp_ns: int
    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    invalid_reason: str = ''


def following(sensor: Sensor, binder: Binder) -> Sensor:
    """Return a sensor whose windows are those that a model set expects: of a series, its channels.

    It is the same one unless its stream must begin again.
    """
    stream, config = sensor.stream, binder.preprocessing.get(sensor.modality)
    if not isinstance(stream, SeriesStream) or config is None or not is_series(config):
        return sensor
    if (stream.options.channels, stream.length_s) == (config.channels, config.window_s):
        return sensor
    return replace(sensor, stream=stream_for(sensor.modality, config, series=stream.options))


def prepare(
    binder: Binder,
    name: str,
    sensor: Sensor,
    pending: Pending,
    *,
    started_s: float,
    wanted: Container[str],
) -> list[Ready]:
    """Decode, check and preprocess the window that ends with a message; record its faults.

    The message is decoded once; the whole view and each part of it are samples of their own.

    Args:
        binder: Binder that will encode the samples.
        name: Name of the sensor.
        sensor: Stream and checks of the sensor.
        pending: The message.
        started_s: Monotonic time at which the message was taken.
        wanted: Which of `sensor.names` are wanted.

    Raises:
        DecodeError: A message cannot be decoded, or has no content to encode.
        KeyError: The model set has no encoder for the modality.
        ValueError: The encoder does not accept the sample.
    """
    window = decode(binder, sensor, pending.cut)
    if window.fault:
        sensor.health.note(*window.fault)
    decoded_s = time.monotonic()
    for finding in findings(sensor, window.raw):
        if not finding.usable:
            raise DecodeError(finding.line, fault=finding.fault)
        sensor.health.note(finding.fault, finding.line)
    objected = objection(binder, sensor, window.raw)
    # A window without an inner gap begins with the stream: it fills, which is no fault.
    if objected is not None and (objected.fault != 'gap' or window.fault is not None):
        sensor.health.note(objected.fault, objected.line)
    for fault, line in remarks(binder, sensor, window).items():
        if objected is None or objected.fault != fault:
            sensor.health.note(fault, line)
    reason, samples = '' if objected is None else objected.reason, []
    for view in views(sensor, window, pending.places, wanted=wanted):
        inputs, valid = preprocess(binder, sensor, view.window)
        ready_s = time.monotonic()
        samples.append(
            Ready(
                sensor=name,
                modality=view.name,
                source=sensor.source,
                frame_id=pending.frame_id,
                arrived_s=pending.arrived_s,
                inputs=inputs,
                valid=valid,
                start_ns=window.start_ns,
                stamp_ns=window.stamp_ns,
                wait_ms=(started_s - pending.arrived_s) * 1e3,
                decode_ms=(decoded_s - started_s) * 1e3,
                preprocess_ms=(ready_s - decoded_s) * 1e3,
                invalid_reason=reason or view.missing,
            )
        )
        decoded_s = ready_s
    return samples


@dataclass(frozen=True, slots=True)
class _View:
    """The whole view of a sensor or a part of it, and why a part shows nothing."""

    name: str
    window: Window
    missing: str = ''


def views(
    sensor: Sensor, window: Window, places: Mapping[str, Place], *, wanted: Container[str]
) -> Iterator[_View]:
    """Yield the wanted views of a decoded window; `places` are those of its parts by sensor."""
    if sensor.modality in wanted:
        yield _View(sensor.modality, window)
    for part in sensor.parts:
        if part.name in wanted:
            view = view_of(window.raw, sensor.modality, places[part.name])
            part.encoded(view.missing)
            yield _View(part.name, replace(window, raw=view.raw), view.missing)


def decode(binder: Binder, sensor: Sensor, cut: Cut) -> Window:
    """Return the decoded window that ends with a message.

    Raises:
        DecodeError: A message cannot be decoded.
        KeyError: The model set has no encoder for the modality.
    """
    if MODALITIES[sensor.modality].kind != 'clip':
        return sensor.stream.window(cut)
    config: Any = binder.preprocessing[sensor.modality]
    stamps_ns = [picture.stamp_ns for picture in cut.content]
    sensor.frames.keep(stamps_ns, what=config)
    return sensor.stream.window(cut, frames=config.frames, known=sensor.frames)


def findings(sensor: Sensor, raw: Any) -> list[Finding]:
    """Return the findings in a raw sample; for a video clip, in its newest image."""
    newest = raw.pictures.get(raw.stamps_ns[-1]) if isinstance(raw, Clip) else raw
    return [] if newest is None else sensor.content.check(newest)


def objection(binder: Binder, sensor: Sensor, raw: Any) -> Objection | None:
    """Return why a raw sample is not evidence for predicates, though encodable; None if it is."""
    if isinstance(raw, Clip):
        return None
    return binder.objection(sensor.modality, raw, options=sensor.images)


def remarks(binder: Binder, sensor: Sensor, window: Window) -> dict[str, str]:
    """Return what to know of a sample that counts as evidence: one line by kind of fault."""
    found: dict[str, list[str]] = {}
    for remark in binder.remarks(sensor.modality, window.raw):
        found.setdefault(remark.fault, []).append(remark)
    config = binder.preprocessing[sensor.modality]
    if isinstance(sensor.stream, SeriesStream) and is_series(config):
        if sensor.stream.options.frame_id:
            found.pop('frame', None)  # the robot's own frame takes the place of the set's
        found |= series_remarks(sensor.stream, sensor.drift, config, window)
    return {fault: '; '.join(lines) for fault, lines in found.items()}


def preprocess(binder: Binder, sensor: Sensor, window: Window) -> tuple[Tensor, float]:
    """Return the network's input `[1, ...]` of a window, and its valid fraction, 0..1.

    Spectrogram frames shared with the previous audio window and images of an earlier clip are not
    computed again. The fraction of a video clip is the part of its window that it spans.

    Raises the errors of `Binder.preprocess_with_validity`.
    """
    raw = window.raw
    if isinstance(raw, Clip):
        assert isinstance(sensor.stream, ClipStream)
        for stamp_ns, picture in raw.pictures.items():
            sensor.frames.add(stamp_ns, binder.preprocess_picture(sensor.modality, picture))
        span_s = (raw.stamps_ns[-1] - raw.stamps_ns[0]) * 1e-9
        inputs = sensor.frames.clip(raw.stamps_ns).unsqueeze(0)
        return inputs, min(1.0, span_s / sensor.stream.length_s)
    is_sound = MODALITIES[sensor.modality].kind == 'sound'
    columns = sensor.columns.until(window.end) if is_sound else None
    return binder.preprocess_with_validity(sensor.modality, raw, columns=columns)


def encode(
    binder: Binder, samples: Sequence[Ready], *, tokens: Container[str] = ()
) -> list[Evidence]:
    """Return the evidence of samples; samples of one modality form one batch.

    Args:
        binder: The encoders.
        samples: The samples.
        tokens: Modalities whose tokens are wanted, if the set has a readout of them.
    """
    together: dict[str, list[Tensor]] = {}
    for sample in samples:
        together.setdefault(modality_of(sample.modality), []).append(sample.inputs)
    inputs = {name: torch.cat(batch) for name, batch in together.items()}
    rows = {n: iter(found) for n, found in binder.encode_evidence(inputs, tokens=tokens).items()}
    return [next(rows[modality_of(sample.modality)]) for sample in samples]


def embedding(binder: Binder, sample: Ready, evidence: Evidence, *, encode_ms: float) -> Encoded:
    """Return a sample's vector and tokens with their origin."""
    has_tokens = evidence.tokens is not None
    readout = binder.readout_ids[modality_of(sample.modality)] if has_tokens else ''
    return Encoded(
        modality=sample.modality,
        source=sample.source,
        model=binder.model,
        space=binder.space,
        vector=evidence.vector,
        stamp_ns=sample.stamp_ns,
        window_start_ns=sample.start_ns,
        frame_id=sample.frame_id,
        valid_fraction=sample.valid,
        wait_ms=sample.wait_ms,
        decode_ms=sample.decode_ms,
        preprocess_ms=sample.preprocess_ms,
        encode_ms=encode_ms,
        invalid_reason=sample.invalid_reason,
        tokens=evidence.tokens,
        readout=readout,
        statistics=evidence.statistics,
    )
