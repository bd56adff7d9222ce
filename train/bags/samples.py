"""Bags to labelled samples: what every sensor saw at each moment whose truth is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from encoders.decode import DecodeError
from encoders.decode.streams import AudioStream, stream_of
from encoders.modalities import MODALITIES, SENSED
from encoders.preprocess import (
    Config,
    objection,
    stored_form,
    to_stored,
    window_s,
)
from train.atomic import atomic_file
from train.bags.folder import BagError, topics_to_read
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.sample_key import sample_key
from train.bags.truth import TRUTH_TOPIC, facts_of

REGION_TOPIC = 'ground_truth/regions'
REGION_SIZE = 64
TOPICS = {name: MODALITIES[name].topics for name in SENSED}
MAX_OFFSET_S = 0.1
MIN_SOUND_S = 0.025  # a spectrum needs as much
UNKNOWN, FALSE, TRUE = -1, 0, 1
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled moments.

    Attributes:
        inputs: Modality to stored inputs `[N, ...]` (see `encoders.preprocess.to_stored`), or
            to what `convert` of `load_samples` made of them.
        truth: int8 `[N, P]`: 1 true, 0 false, -1 unknown.
        predicates: `P` names.
        bag: `[N]` index of the bag each moment comes from.
        times_s: `[N]` seconds since the start of its bag.
        bags: Names.
        regions: uint8 `[N, 64, 64]`: which named part of the scene each cell of the image shows, 0
            for none, else 1 + index in `region_names`. All 0 where a bag does not say.
        region_names: Of the parts.
    """

    inputs: dict[str, Array]
    truth: NDArray[np.int8]
    predicates: tuple[str, ...]
    bag: NDArray[np.int64]
    times_s: NDArray[np.float64]
    bags: tuple[str, ...]
    regions: NDArray[np.uint8]
    region_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was used and what was not: one line per problem."""

    bags: int
    moments: int
    problems: tuple[str, ...]


def load_samples(
    bags: Sequence[Path],
    configs: Mapping[str, Config],
    *,
    cache: Path | None = None,
    workers: int = 1,
    convert: Callable[[str, Array], Array] | None = None,
) -> tuple[Samples, LoadReport]:
    """Read bags, in parallel and each only once where a cache folder is given.

    Args:
        bags: Bag folders or files.
        configs: Preprocessing of each modality that is wanted.
        cache: Folder for the extracted inputs; reused when bag and preprocessing are the same.
        workers: Number of processes.
        convert: Called with a modality and the stored inputs of each bag; what it returns is kept
            in their place, so that large inputs need not fit into memory together.

    Returns:
        All moments in order of bags, and a report. A moment lacks a modality where all its values
        are 0; a bag without ground truth is reported and skipped.
    """
    tasks = [(bag, dict(configs), cache) for bag in bags]
    if workers > 1:
        # A forked copy of a process whose threads are computing may wait forever.
        with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
            results = pool.map(_extract, tasks, chunksize=1)
            found = track(results, 'reading bags', total=len(tasks))
            parts = [_converted(part, configs, convert) for part in found]
    else:
        parts = [_converted(_extract(task), configs, convert) for task in tasks]
    problems = tuple(line for part in parts for line in part['problems'])
    kept = [(bag, part) for bag, part in zip(bags, parts, strict=True) if len(part['times_s'])]
    samples = _join(kept, tuple(configs))
    return samples, LoadReport(len(kept), len(samples), problems)


def _converted(
    part: dict[str, Any],
    modalities: Iterable[str],
    convert: Callable[[str, Array], Array] | None,
) -> dict[str, Any]:
    if convert is None or not len(part['times_s']):
        return part
    return {**part, **{name: convert(name, part[name]) for name in modalities}}


def _join(kept: Sequence[tuple[Path, dict[str, Any]]], modalities: tuple[str, ...]) -> Samples:
    if not kept:
        return _no_samples(modalities)
    names = sorted({name for _, part in kept for name in part['predicates']})
    column = {name: index for index, name in enumerate(names)}
    region_names = sorted({name for _, part in kept for name in part['region_names']})
    total = sum(len(part['times_s']) for _, part in kept)
    truth = np.full((total, len(names)), UNKNOWN, np.int8)
    bag_of = np.zeros(total, np.int64)
    start = 0
    for index, (_, part) in enumerate(kept):
        rows = slice(start, start + len(part['times_s']))
        truth[rows, [column[name] for name in part['predicates']]] = part['truth']
        bag_of[rows] = index
        start = rows.stop
    return Samples(
        inputs={m: np.concatenate([part[m] for _, part in kept]) for m in modalities},
        truth=truth,
        predicates=tuple(names),
        bag=bag_of,
        times_s=np.concatenate([part['times_s'] for _, part in kept]),
        bags=tuple(bag.name for bag, _ in kept),
        regions=np.concatenate(
            [_renumbered(part['regions'], part['region_names'], region_names) for _, part in kept]
        ),
        region_names=tuple(region_names),
    )


def stored_tensor(stored: NDArray[Any]) -> Tensor:
    """Stored inputs as a tensor; uint16, for which torch has few operations, as int32."""
    return torch.from_numpy(stored.astype(np.int32) if stored.dtype == np.uint16 else stored)


def _renumbered(
    labels: NDArray[np.uint8], own: Sequence[str], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Labels that count in `own` names as labels that count in `names`, which hold them all."""
    number = np.array([0, *(1 + names.index(str(name)) for name in own)], np.uint8)
    return np.asarray(number[labels])


def _no_samples(modalities: tuple[str, ...]) -> Samples:
    nothing = np.zeros(0)
    return Samples(
        inputs=dict.fromkeys(modalities, nothing),
        truth=np.zeros((0, 0), np.int8),
        predicates=(),
        bag=nothing.astype(np.int64),
        times_s=nothing,
        bags=(),
        regions=np.zeros((0, REGION_SIZE, REGION_SIZE), np.uint8),
        region_names=(),
    )


def _extract(task: tuple[Path, dict[str, Config], Path | None]) -> dict[str, Any]:
    bag, configs, cache = task
    stored = None if cache is None else cache / f'{bag.name}-{sample_key(bag, configs)}.npz'
    if stored is not None and stored.exists():
        with np.load(stored) as loaded:
            found = {key: loaded[key] for key in loaded.files}
        return {
            **found,
            'predicates': found['predicates'].tolist(),
            'problems': found['problems'].tolist(),
            'region_names': found['region_names'].tolist(),
        }
    part = extract_bag(bag, configs)
    if stored is not None:
        stored.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(stored) as file:
            np.savez(file, **part)
    return part


def extract_bag(bag: Path, configs: Mapping[str, Config]) -> dict[str, Any]:
    """Inputs and truth of one bag: per modality `[n, ...]`, `truth`, `predicates`, `times_s`.

    A bag that cannot be read has no truth; `problems` say why.
    """
    report = BagReport(bag)
    try:
        return _extract_bag(bag, configs, report)
    except (BagError, OSError) as error:
        report.problem(f'{error}; the bag is skipped')
        return {
            'predicates': [],
            'truth': np.zeros((0, 0), np.int8),
            'times_s': np.zeros(0),
            'problems': report.problems,
            **_aligned_regions([], np.zeros(0, np.int64)),
            **{
                name: _sensor(name, c).inputs(np.zeros(0, np.int64), report)
                for name, c in configs.items()
            },
        }


def _extract_bag(bag: Path, configs: Mapping[str, Config], report: BagReport) -> dict[str, Any]:
    sensors = {name: _sensor(name, config) for name, config in configs.items()}
    truths: list[tuple[int, dict[str, bool]]] = []
    regions: list[tuple[int, Any]] = []
    topics = _sensor_topics(bag, configs, report)
    for message in read_bag(bag, report=report):
        if message.topic == TRUTH_TOPIC:
            facts = facts_of(message, report)
            if facts is not None:
                truths.append((message.stamp_ns, facts))
        elif message.topic == REGION_TOPIC:
            regions.append((message.stamp_ns, message.message))
        elif message.topic in topics:
            sensors[topics[message.topic]].take(message, report)
    if not truths:
        report.problem(f'{bag}: topic {TRUTH_TOPIC} is not in this bag; the bag is skipped')
    stamps = np.array([stamp for stamp, _ in truths], np.int64)
    names = sorted({name for _, values in truths for name in values})
    table = [[int(v[name]) if name in v else UNKNOWN for name in names] for _, v in truths]
    part: dict[str, Any] = {
        'predicates': names,
        'truth': np.array(table, np.int8).reshape(len(truths), len(names)),
        'times_s': (stamps - stamps.min(initial=0 if not len(stamps) else stamps[0])) * 1e-9,
    }
    part |= _aligned_regions(regions, stamps)
    for name, sensor in sensors.items():
        if not sensor.messages and truths:
            report.problem(f'{bag}: no {name} in this bag')
        part[name] = sensor.inputs(stamps, report)
    part['problems'] = report.problems
    return part


def _sensor_topics(bag: Path, modalities: Iterable[str], report: BagReport) -> dict[str, str]:
    """Topic to modality: of a sensor that was recorded in several forms, the raw one only.

    A recorder subscribes to every form of a picture, and a sample must not be counted twice.
    """
    present = topics_to_read(bag, report.problem)
    chosen: dict[str, str] = {}
    for name in modalities:
        forms = [topic for topic in TOPICS[name] if topic in present]
        chosen |= dict.fromkeys(forms[:1], name)
    return chosen


class _ImageSensor:
    """Images of one modality in their stored form."""

    def __init__(self, modality: str, config: Config) -> None:
        self._stream, self._config = stream_of(modality), config
        self._stored: list[tuple[int, Array]] = []

    @property
    def messages(self) -> int:
        """How many could be used."""
        return len(self._stored)

    def take(self, message: BagMessage, report: BagReport) -> None:
        """Decode and keep an image."""
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
            # Neither a network nor a calibration may learn from what is no evidence at run time.
            report.skipped(message.topic, objected.line)
            return
        self._stored.append((window.stamp_ns, to_stored(window.raw, self._config)))

    def inputs(self, stamps: NDArray[np.int64], report: BagReport) -> Array:
        """Stored inputs of the images that are nearest to some moments."""
        return _aligned(self._stored, stamps, self._config)


class _SoundSensor:
    """The sound that live nodes would have heard at each moment."""

    def __init__(self, config: Config) -> None:
        self._stream, self._config = AudioStream(), config
        self._chunks: list[BagMessage] = []

    @property
    def messages(self) -> int:
        """How many there were."""
        return len(self._chunks)

    def take(self, message: BagMessage, report: BagReport) -> None:
        """Keep a chunk."""
        self._chunks.append(message)

    def inputs(self, stamps: NDArray[np.int64], report: BagReport) -> Array:
        """Stored inputs of the windows that end at some moments."""
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


def _sensor(modality: str, config: Config) -> _ImageSensor | _SoundSensor:
    is_sound = MODALITIES[modality].kind == 'sound'
    return _SoundSensor(config) if is_sound else _ImageSensor(modality, config)


def _aligned(
    stream: Iterable[tuple[int, Any]], stamps: NDArray[np.int64], config: Config
) -> Array:
    """Stored inputs `[N, ...]` of the entries that are nearest to `N` stamps; 0 without one."""
    shape, kind = stored_form(config)
    aligned = np.zeros((len(stamps), *shape), kind)
    for row, array in _nearest(list(stream), stamps):
        aligned[row] = array
    return aligned


def _nearest(
    stream: list[tuple[int, Any]], stamps: NDArray[np.int64]
) -> Iterator[tuple[int, Any]]:
    """For every stamp that has one near enough, its row and the nearest entry of the stream."""
    times = np.array([stamp for stamp, _ in stream], np.int64)
    for row, stamp in enumerate(stamps if len(times) else ()):
        nearest = int(np.abs(times - stamp).argmin())
        if abs(int(times[nearest]) - int(stamp)) <= MAX_OFFSET_S * 1e9:
            yield row, stream[nearest][1]


def _aligned_regions(stream: list[tuple[int, Any]], stamps: NDArray[np.int64]) -> dict[str, Any]:
    names = sorted({str(name) for _, message in stream for name in message.names})
    labels = np.zeros((len(stamps), REGION_SIZE, REGION_SIZE), np.uint8)
    for row, message in _nearest(stream, stamps):
        plane = np.asarray(message.labels).reshape(message.height, message.width)
        plane = _renumbered(plane, message.names, names)
        side = (REGION_SIZE, REGION_SIZE)
        labels[row] = cv2.resize(plane, side, interpolation=cv2.INTER_NEAREST)
    return {'regions': labels, 'region_names': names}
