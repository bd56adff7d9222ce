"""Extraction of labelled samples from one bag: the input of each sensor at every truth stamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.decode import DecodeError
from encoders.decode.streams import AudioStream, stream_of
from encoders.modalities import MODALITIES
from encoders.preprocess import Config, is_series, objection, stored_form, to_stored, window_s
from train.bags.folder import BagError, read_marks, topics_to_read
from train.bags.labelled import LabelSet
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.samples import MAX_OFFSET_S, REGION_SIZE, UNKNOWN, Array, Samples, renumbered
from train.bags.series import SeriesSensor
from train.bags.topics import REGION_TOPIC, TOPICS, TRUTH_TOPIC
from train.bags.truth import facts_of

MIN_SOUND_S = 0.025  # minimum for a spectrum
Extracted = tuple[Samples, list[str]]


def extract_bag(
    bag: Path, configs: Mapping[str, Config], *, labels: LabelSet | None = None
) -> Extracted:
    """The samples of one bag and its problems; no samples if it has no truth or is not a bag.

    Labels, if they are given, take the place of the ground truth.
    """
    report = BagReport(bag)
    sensors = {name: _sensor(name, config) for name, config in configs.items()}
    truths: list[tuple[int, dict[str, bool]]] = []
    region_messages: list[tuple[int, Any]] = []
    try:
        topics = _sensor_topics(bag, configs, report)
        described = _described_topics(configs)
        for message in read_bag(bag, report=report):
            if message.topic == TRUTH_TOPIC:
                facts = facts_of(message, report)
                if facts is not None:
                    truths.append((message.stamp_ns, facts))
            elif message.topic == REGION_TOPIC:
                region_messages.append((message.stamp_ns, message.message))
            else:  # a topic may feed a sensor of its own and described channels
                named = [topics.get(message.topic), *described.get(message.topic, ())]
                for name in filter(None, named):
                    sensors[name].take(message, report)
        if labels is not None:
            truths = labels.of(bag).moments()
        if not truths:
            missing = f'topic {TRUTH_TOPIC} is not in this bag'
            raise BagError(f'{bag}: {missing if labels is None else "it has no labels"}')
    except (BagError, OSError) as error:
        report.problem(f'{error}; the bag is skipped')
        truths.clear()
    stamps = np.array([stamp for stamp, _ in truths], np.int64)
    names = sorted({name for _, values in truths for name in values})
    table = [[int(v[name]) if name in v else UNKNOWN for name in names] for _, v in truths]
    regions, region_names = _aligned_regions(region_messages, stamps)
    inputs = {}
    for name, sensor in sensors.items():
        if not sensor.messages and truths:
            report.problem(f'{bag}: no {name} in this bag')
        inputs[name] = sensor.inputs(stamps, report)
    samples = Samples(
        inputs=inputs,
        truth=np.array(table, np.int8).reshape(len(truths), len(names)),
        predicates=tuple(names),
        bag=np.zeros(len(truths), np.int64),
        times_s=(stamps - stamps.min(initial=0 if not len(stamps) else stamps[0])) * 1e-9,
        bags=(bag.name,),
        regions=regions,
        region_names=region_names,
        scenes=(scene_of(bag),),
    )
    return samples, report.problems


def scene_of(bag: Path) -> str:
    """The scene that the writer of a bag noted; '' for none."""
    return read_marks(bag).get('scene', '') if bag.exists() else ''


def _sensor_topics(bag: Path, modalities: Iterable[str], report: BagReport) -> dict[str, str]:
    """Topic to modality; of a sensor that was recorded in several forms, only the raw topic.

    A recorder subscribes to every form of an image, and a sample must not be counted twice.
    """
    present = topics_to_read(bag, report.problem)
    chosen: dict[str, str] = {}
    for name in modalities:
        forms = [topic for topic in TOPICS[name] if topic in present]
        chosen |= dict.fromkeys(forms[:1], name)
    return chosen


def _described_topics(configs: Mapping[str, Config]) -> dict[str, set[str]]:
    """Topic to modalities, of channels that name their topics."""
    found: dict[str, set[str]] = {}
    for name, config in configs.items():
        for source in config.sources if is_series(config) else ():
            if source:
                found.setdefault(source.partition(':')[0], set()).add(name)
    return found


class _ImageSensor:
    """Images of one modality in their stored form."""

    def __init__(self, modality: str, config: Config) -> None:
        self._stream, self._config = stream_of(modality), config
        self._stored: list[tuple[int, Array]] = []

    @property
    def messages(self) -> int:
        """Number of usable images."""
        return len(self._stored)

    def take(self, message: BagMessage, report: BagReport) -> None:
        """Decode and store an image."""
        cut = self._stream.add(message.message, stamp_ns=message.stamp_ns)
        try:
            window = self._stream.window(cut)
        except DecodeError as error:
            report.skipped(message.topic, str(error))
            return
        if window.fault:
            report.noted(message.topic, window.fault[1])
        objected = objection(window.raw, self._config)
        if objected is not None:
            # Training and calibration must not use inputs that are no evidence at run time.
            report.skipped(message.topic, objected.line)
            return
        self._stored.append((window.stamp_ns, to_stored(window.raw, self._config)))

    def inputs(self, stamps: NDArray[np.int64], report: BagReport) -> Array:
        """Stored inputs of the images nearest to each stamp."""
        return _aligned(self._stored, stamps, self._config)


class _SoundSensor:
    """The audio that live nodes would have received at each stamp."""

    def __init__(self, config: Config) -> None:
        self._stream, self._config = AudioStream(), config
        self._chunks: list[BagMessage] = []

    @property
    def messages(self) -> int:
        """Number of messages."""
        return len(self._chunks)

    def take(self, message: BagMessage, report: BagReport) -> None:
        """Store a chunk."""
        self._chunks.append(message)

    def inputs(self, stamps: NDArray[np.int64], report: BagReport) -> Array:
        """Stored inputs of the windows that end at each stamp."""
        shape, kind = stored_form(self._config)
        stored = np.zeros((len(stamps), *shape), kind)
        order = deque(np.argsort(stamps, kind='stable'))
        for message in self._chunks:
            while order and stamps[order[0]] <= message.stamp_ns:
                self._fill(stored, order.popleft(), stamps)
            cut = self._stream.add(
                message.message, stamp_ns=message.stamp_ns, stamped=message.is_stamped
            )
            try:
                self._stream.window(cut)
            except DecodeError as error:
                report.skipped(message.topic, str(error))
        for row in order:
            self._fill(stored, row, stamps)
        return stored

    def _fill(self, stored: Array, row: int, stamps: NDArray[np.int64]) -> None:
        window = self._stream.until(int(stamps[row]), length_s=window_s(self._config))
        if window is None or int(stamps[row]) - window.stamp_ns > MAX_OFFSET_S * 1e9:
            return
        wave, rate_hz = window.raw
        if wave.shape[1] >= MIN_SOUND_S * rate_hz:
            stored[row] = to_stored((wave, rate_hz), self._config)


def _sensor(modality: str, config: Config) -> _ImageSensor | _SoundSensor | SeriesSensor:
    if is_series(config):
        return SeriesSensor(modality, config)
    is_sound = MODALITIES[modality].kind == 'sound'
    return _SoundSensor(config) if is_sound else _ImageSensor(modality, config)


def _aligned(
    stream: Iterable[tuple[int, Any]], stamps: NDArray[np.int64], config: Config
) -> Array:
    """Stored inputs `[N, ...]` of the entries nearest to `N` stamps; 0 if there is none."""
    shape, kind = stored_form(config)
    aligned = np.zeros((len(stamps), *shape), kind)
    for row, array in _nearest(list(stream), stamps):
        aligned[row] = array
    return aligned


def _nearest(
    stream: list[tuple[int, Any]], stamps: NDArray[np.int64]
) -> Iterator[tuple[int, Any]]:
    """For every stamp with an entry close enough: its row and the nearest entry of the stream."""
    times = np.array([stamp for stamp, _ in stream], np.int64)
    for row, stamp in enumerate(stamps if len(times) else ()):
        nearest = int(np.abs(times - stamp).argmin())
        if abs(int(times[nearest]) - int(stamp)) <= MAX_OFFSET_S * 1e9:
            yield row, stream[nearest][1]


def _aligned_regions(
    stream: list[tuple[int, Any]], stamps: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    names = sorted({str(name) for _, message in stream for name in message.names})
    labels = np.zeros((len(stamps), REGION_SIZE, REGION_SIZE), np.uint8)
    for row, message in _nearest(stream, stamps):
        plane = np.asarray(message.labels).reshape(message.height, message.width)
        plane = renumbered(plane, message.names, names)
        side = (REGION_SIZE, REGION_SIZE)
        labels[row] = cv2.resize(plane, side, interpolation=cv2.INTER_NEAREST)
    return labels, tuple(names)
