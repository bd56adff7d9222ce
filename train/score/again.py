"""Windows of a bag that are read and encoded again, where only their vectors were kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from encoders import MODALITIES, Binder, Evidence
from encoders.decode.audio_window import WINDOW_S
from encoders.decode.series import Floats
from encoders.decode.series_stream import SeriesStream
from encoders.modalities import DESCRIBED
from encoders.preprocess import Config, stream_for, window_s
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.storage import Span
from train.score.windows import SensorTopics, Window, read_windows

BATCH = 16
# Windows are found by their time of recording, which is exact up to rounding.
TOLERANCE_NS = 1_000_000
# Data that is read before a window, in addition to its length.
LEAD_S = 1.0
CLIP_S = 9.0
LATEST_NS = 1 << 62

Key = TypeVar('Key', bound=Hashable)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window is in a bag: its modality, its topic, and its time of recording."""

    modality: str
    topic: str
    log_ns: int


def windows_again(
    bag: Path, places: Collection[Place], *, configs: Mapping[str, Config]
) -> Iterator[tuple[Place, Window]]:
    """Read some windows of a bag; only the parts of the bag that they are cut from are read.

    Args:
        bag: Bag folder or file.
        places: The windows; those that the bag does not have are left out.
        configs: Preprocessing constants of the encoders by modality.

    Raises:
        BagError, OSError: The bag cannot be read.
    """
    topics: dict[str, list[str]] = {}
    for place in places:
        named = topics.setdefault(place.modality, [])
        if place.topic not in named:
            named.append(place.topic)
    baselines = _baselines(bag, topics, configs)
    for between in _spans(places, configs):
        wanted = [place for place in places if between[0] <= place.log_ns <= between[1]]
        for window in read_windows(
            bag,
            SensorTopics(topics),
            modalities=tuple(topics),
            max_rate_hz=0.0,
            report=BagReport(bag),
            between=between,
            configs=configs,
            baselines=baselines,
            ends=partial(_at, wanted),
        ):
            for place in _at(wanted, window):
                if place.modality == window.modality:
                    yield place, window


def _at(places: Iterable[Place], found: BagMessage | Window) -> list[Place]:
    """The places whose windows end with a message."""
    return [
        place
        for place in places
        if abs(found.log_ns - place.log_ns) <= TOLERANCE_NS
        and (place.topic == found.topic or place.modality == DESCRIBED)
    ]


def _baselines(
    bag: Path, topics: Mapping[str, Sequence[str]], configs: Mapping[str, Config]
) -> dict[str, Floats]:
    """The baselines of series by topic, which were taken at the start of the bag."""
    streams = {
        topic: stream
        for modality, named in topics.items()
        for topic in named
        if isinstance(stream := stream_for(modality, configs.get(modality)), SeriesStream)
    }
    found: dict[str, Floats] = {}
    if not streams:
        return found
    for message in read_bag(bag, topics=list(streams)):
        streams[message.topic].add(message.message, stamp_ns=message.stamp_ns)
        if all(stream.tared_ns is not None for stream in streams.values()):
            break
    for topic, stream in streams.items():
        window = stream.until(LATEST_NS)
        if window is not None and window.raw.baseline is not None:
            found[topic] = window.raw.baseline
    return found


def evidence_again(
    binder: Binder,
    windows: Iterable[tuple[Key, Window]],
    *,
    done: Callable[[int], object] = lambda count: None,
) -> dict[Key, Evidence]:
    """Encode windows in batches, with tokens where the model set has a readout.

    Args:
        binder: The model set.
        windows: The windows with their keys; those that cannot be decoded are left out.
        done: Called with the number of windows that were encoded.
    """
    found: dict[Key, Evidence] = {}
    waiting: dict[str, list[tuple[Key, Tensor]]] = {}
    for key, window in windows:
        try:
            inputs = binder.preprocess(window.modality, window.raw())
        except ValueError:  # reported when it was encoded for the first time
            continue
        batch = waiting.setdefault(window.modality, [])
        batch.append((key, inputs))
        if len(batch) == BATCH:
            found |= _encoded(binder, window.modality, batch)
            batch.clear()
            done(len(found))
    for modality, batch in waiting.items():
        if batch:
            found |= _encoded(binder, modality, batch)
    done(len(found))
    return found


def _encoded(
    binder: Binder, modality: str, batch: Sequence[tuple[Key, Tensor]]
) -> dict[Key, Evidence]:
    inputs = torch.cat([each for _, each in batch])
    encoded = binder.encode_evidence({modality: inputs})[modality]
    return dict(zip((key for key, _ in batch), encoded, strict=True))


def _spans(places: Iterable[Place], configs: Mapping[str, Config]) -> list[Span]:
    """Spans of time that hold all windows with what comes before them, without overlaps."""
    spans: list[Span] = []
    for place in sorted(places, key=lambda each: each.log_ns):
        lead_ns = _lead_ns(place.modality, configs)
        begin, end = place.log_ns - lead_ns - TOLERANCE_NS, place.log_ns + TOLERANCE_NS
        while spans and begin <= spans[-1][1]:
            begin = min(spans.pop()[0], begin)
        spans.append((begin, end))
    return spans


def _lead_ns(modality: str, configs: Mapping[str, Config]) -> int:
    """Length of the data that a window is cut from; 0 for images."""
    kind = MODALITIES[modality].kind
    if kind == 'image':
        return 0
    length_s = {'sound': WINDOW_S, 'clip': CLIP_S}.get(kind) or window_s(configs[modality])
    return round((length_s + LEAD_S) * 1e9)
