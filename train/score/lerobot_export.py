"""Scored bags as a LeRobot dataset: sensors and predicates at a fixed rate, an episode per bag."""

from __future__ import annotations

import bisect
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Series, State
from encoders.preprocess import Config, is_series
from encoders.regions import is_region
from train.bags.reader import BagReport, read_bag
from train.score.channels import unit_of
from train.score.embed import BagSource
from train.score.lerobot_format import Feature, LerobotWriter, decoded
from train.score.parts import Embeddings
from train.score.sound import Loudness
from train.score.table import Truth, value_at
from train.score.track import Scored
from train.score.windows import Window

TASK_TOPIC = 'task/text'
OBSERVED = 'observation'
PICTURES, LEVEL = f'{OBSERVED}.images', f'{OBSERVED}.level_dbfs'
PROBABILITY, STATE, TRUTH = 'observation.predicates', 'predicates.state', 'predicates.truth'
CANNOT_TELL = 0.5
UNKNOWN_TRUTH = -1
JPEG_QUALITY = 95
MAGIC = (b'\xff\xd8\xff', b'\x89PNG')


@dataclass(frozen=True, slots=True)
class _Stream:
    """One topic: its feature, and the stamp of its window in each frame."""

    feature: str
    modality: str
    stamps_ns: list[int]
    channels: tuple[str, ...] = ()


def add_episode(
    dataset: LerobotWriter,
    source: BagSource,
    embeddings: Embeddings,
    moments: Sequence[Scored],
    *,
    truth: Truth,
) -> None:
    """Write a bag as an episode, from the time when all sensors have data to the end.

    A frame contains the newest values at its time: images (colour as JPEG; depth in millimetres
    and infrared in tenths of a kelvin, or grey, as PNG), the audio level since the last frame, the
    newest values of series (NaN if a channel was not measured within a window), and for each
    predicate the probability (0.5 if no sensor is informative), the state (0 UNKNOWN,
    1 FALSE, 2 TRUE) and the truth (-1 if unknown).

    Args:
        dataset: Dataset to extend.
        source: The bag; its sensors are read again.
        embeddings: Embeddings of its windows.
        moments: Scored moments, in order; at least one.
        truth: (stamp, value) in order, by predicate.

    Raises:
        ValueError: The sensors, or the size of their images, differ from those of the first
            episode.
    """
    times_ns = _frame_times(embeddings, moments, dataset.fps)
    streams = _streams(embeddings, times_ns, source.configs)
    frames = _frames(source, streams, _scores(moments, truth, times_ns), len(times_ns))
    first = next(frames)
    names = tuple(score.name for score in moments[0].evaluation.scores)

    def all_frames() -> Iterator[Mapping[str, Any]]:
        yield first
        yield from frames

    dataset.add_episode(
        _features(first, streams, names), all_frames(), count=len(times_ns), task=_task(source)
    )


def _frame_times(embeddings: Embeddings, moments: Sequence[Scored], fps: int) -> NDArray[np.int64]:
    topics = np.unique(embeddings.topic)
    start_ns = max(int(embeddings.stamp_ns[embeddings.topic == t].min()) for t in topics)
    count = max(1, int((moments[-1].time_ns - start_ns) * fps // 1_000_000_000) + 1)
    return start_ns + np.round(np.arange(count) * (1e9 / fps)).astype(np.int64)


def _streams(
    embeddings: Embeddings, times_ns: NDArray[np.int64], configs: Mapping[str, Config]
) -> dict[str, _Stream]:
    """Streams by topic; the usable windows are those that were embedded."""
    found = {}
    for modality in dict.fromkeys(str(m) for m in embeddings.modality if not is_region(str(m))):
        topics = sorted({str(t) for t in embeddings.topic[embeddings.modality == modality]})
        config = configs.get(modality)
        channels = config.channels if config is not None and is_series(config) else ()
        prefix = _prefix(modality)
        for topic in topics:
            stamps = np.unique(embeddings.stamp_ns[embeddings.topic == topic])
            newest = np.searchsorted(stamps, times_ns, side='right') - 1
            slug = re.sub(r'\W+', '_', topic).strip('_')
            feature = prefix if len(topics) == 1 else f'{prefix}.{slug}'
            found[topic] = _Stream(feature, modality, stamps[newest].tolist(), channels)
    return found


def _prefix(modality: str) -> str:
    """The feature of the first topic of a modality."""
    kind = MODALITIES[modality].kind
    if kind == 'sound':
        return LEVEL
    if kind == 'series':
        return f'{OBSERVED}.{modality}'
    return f'{PICTURES}.{"camera" if modality == "image" else modality}'


def _frames(
    source: BagSource,
    streams: Mapping[str, _Stream],
    scores: Sequence[Mapping[str, Any]],
    count: int,
) -> Iterator[dict[str, Any]]:
    """Yield frames in order, each as soon as its last window was read."""
    waiting = deque(range(count))
    wanted = {topic: set(stream.stamps_ns) for topic, stream in streams.items()}
    loudness = {topic: Loudness() for topic in streams}
    ready: dict[tuple[str, int], Any] = {}
    for window in source.windows(BagReport(source.path)):
        topic, key = window.topic, (window.topic, window.stamp_ns)
        if window.stamp_ns not in wanted.get(topic, ()) or key in ready:
            continue
        ready[key] = _value(window, loudness[topic])
        while waiting:
            needed = {topic: (topic, s.stamps_ns[waiting[0]]) for topic, s in streams.items()}
            if not all(key in ready for key in needed.values()):
                break
            sensed = {streams[topic].feature: ready[key] for topic, key in needed.items()}
            yield sensed | dict(scores[waiting.popleft()])
            # Values older than the frame just yielded are not needed again.
            ready = {k: v for k, v in ready.items() if k[1] >= needed[k[0]][1]}


def _value(window: Window, loudness: Loudness) -> Any:
    modality = MODALITIES[window.modality]
    if modality.kind == 'sound':
        return np.float32(loudness.of(window))
    if modality.kind == 'series':
        return _newest(window.source)
    message = window.source.content
    sent = bytes(message.data) if hasattr(message, 'format') else b''
    if modality.pixels == 'colour' and sent.startswith(MAGIC):
        return sent
    raw = np.asarray(window.raw())
    if raw.ndim == 3:
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        bgr = cv2.cvtColor(raw, cv2.COLOR_RGB2BGR)
        return cv2.imencode('.jpg', bgr, options)[1].tobytes()
    if modality.pixels == 'depth' and raw.dtype != np.uint16:
        raw = np.nan_to_num(raw * 1000, nan=0, posinf=0, neginf=0)
        raw = np.clip(raw, 0, np.iinfo(np.uint16).max).astype(np.uint16)
    elif modality.pixels == 'infrared' and raw.dtype == np.uint16:
        # Hundredths of a kelvin overflow in readers that treat 16 bits as signed.
        raw = ((raw.astype(np.uint32) + 5) // 10).astype(np.uint16)
    return cv2.imencode('.png', raw)[1].tobytes()


def _newest(series: Series) -> NDArray[np.float32]:
    """The newest measured value of every channel, float32 `[C]`."""
    order = np.argsort(series.stamps_s, kind='stable')[::-1]
    values = series.values[order]
    first = np.isfinite(values).argmax(axis=0)
    return np.asarray(values[first, np.arange(values.shape[1])], np.float32)


def _features(
    frame: Mapping[str, Any], streams: Mapping[str, _Stream], names: tuple[str, ...]
) -> dict[str, Feature]:
    found = {}
    for stream in streams.values():
        modality = MODALITIES[stream.modality]
        if modality.kind == 'sound':
            found[stream.feature] = Feature('float32', (1,), ('level_dbfs',))
            continue
        if modality.kind == 'series':
            units = {'units': [unit_of(channel) for channel in stream.channels]}
            shape = (len(stream.channels),)
            found[stream.feature] = Feature('float32', shape, stream.channels, units)
            continue
        read = decoded(frame[stream.feature])
        info: dict[str, object] | None = None
        if modality.pixels == 'depth':
            info = {'is_depth_map': True, 'depth_unit': 'mm'}
        elif read.dtype == np.uint16:
            info = {'unit': 'dK'}
        shape = (*read.shape[:2], read.shape[2] if read.ndim == 3 else 1)
        axes = ('height', 'width', 'channels')
        found[stream.feature] = Feature('image', shape, axes, info)
    count = (len(names),)
    return found | {
        PROBABILITY: Feature('float32', count, names),
        STATE: Feature('int64', count, names),
        TRUTH: Feature('int64', count, names),
    }


def _scores(
    moments: Sequence[Scored], truth: Truth, times_ns: NDArray[np.int64]
) -> list[dict[str, Any]]:
    stamps_ns = [moment.time_ns for moment in moments]
    found = []
    for time_ns in times_ns.tolist():
        newest = moments[max(0, bisect.bisect_right(stamps_ns, time_ns) - 1)].evaluation
        known = [value_at(truth.get(score.name, ()), time_ns) for score in newest.scores]
        told = [score.fused if score.can_tell else CANNOT_TELL for score in newest.scores]
        states = [int(State(newest.states[score.name].state)) for score in newest.scores]
        found.append(
            {
                PROBABILITY: np.array(told, np.float32),
                STATE: np.array(states, np.int64),
                TRUTH: np.array([UNKNOWN_TRUTH if v is None else int(v) for v in known]),
            }
        )
    return found


def _task(source: BagSource) -> str:
    """The task recorded in the bag; empty if there is none."""
    for message in read_bag(source.path, topics=[TASK_TOPIC]):
        return str(getattr(message.message, 'data', ''))
    return ''
