"""Windows of a bag that are read and encoded again, where only their vectors were kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from encoders import MODALITIES, Binder, Evidence
from encoders.decode.audio_window import WINDOW_S
from train.bags.reader import BagReport
from train.bags.storage import Span
from train.score.windows import SensorTopics, Window, read_windows

BATCH = 16
# Windows are found by their time of recording, which is exact up to rounding.
TOLERANCE_NS = 1_000_000
# Data before a window that it is cut from.
LEAD_NS = {
    'image': 0,
    'sound': round((WINDOW_S + 1) * 1e9),
    'clip': 10_000_000_000,
    'series': 10_000_000_000,
}

Key = TypeVar('Key', bound=Hashable)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window is in a bag: its modality, its topic, and its time of recording."""

    modality: str
    topic: str
    log_ns: int


def windows_again(bag: Path, places: Collection[Place]) -> Iterator[tuple[Place, Window]]:
    """Read some windows of a bag; only the parts of the bag that they are cut from are read.

    Args:
        bag: Bag folder or file.
        places: The windows; those that the bag does not have are left out.

    Raises:
        BagError, OSError: The bag cannot be read.
    """
    topics: dict[str, list[str]] = {}
    for place in places:
        named = topics.setdefault(place.modality, [])
        if place.topic not in named:
            named.append(place.topic)
    for between in _spans(places):
        wanted = [place for place in places if between[0] <= place.log_ns <= between[1]]
        for window in read_windows(
            bag,
            SensorTopics(topics),
            modalities=tuple(topics),
            max_rate_hz=0.0,
            report=BagReport(bag),
            between=between,
        ):
            for place in wanted:
                is_same = (place.modality, place.topic) == (window.modality, window.topic)
                if is_same and abs(window.log_ns - place.log_ns) <= TOLERANCE_NS:
                    yield place, window


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


def _spans(places: Iterable[Place]) -> list[Span]:
    """Spans of time that hold all windows with what comes before them, without overlaps."""
    spans: list[Span] = []
    for place in sorted(places, key=lambda each: each.log_ns):
        lead_ns = LEAD_NS[MODALITIES[place.modality].kind]
        begin, end = place.log_ns - lead_ns - TOLERANCE_NS, place.log_ns + TOLERANCE_NS
        while spans and begin <= spans[-1][1]:
            begin = min(spans.pop()[0], begin)
        spans.append((begin, end))
    return spans
