"""Evidence with tokens of indexed windows, encoded again from their bags.

Tokens are not stored in the index: they would take 50 times the space of the vectors. A query
encodes again the moments that it may answer with, a few hundred windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from encoders import MODALITIES, Binder, Evidence
from encoders.decode.audio_window import WINDOW_S
from train.bags.folder import BagError, bag_span_ns
from train.bags.reader import BagReport
from train.bags.storage import Span
from train.score.windows import SensorTopics, Window, read_windows
from train.search.moment import Moment
from train.search.store import Entry

BATCH = 16
# Windows are found by their time of recording, which is exact up to rounding.
TOLERANCE_NS = 1_000_000
# Data before a window that it is cut from.
LEAD_NS = {'image': 0, 'series': 0, 'sound': round((WINDOW_S + 1) * 1e9), 'clip': 10_000_000_000}

Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Reread:
    """The result of encoding windows again.

    Attributes:
        evidence: By `key_of` the window; a window that was not found is missing.
        gone: Paths of bags that cannot be read, with the reason.
    """

    evidence: dict[Key, Evidence] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)


def key_of(entry: Entry | Moment) -> Key:
    """Identifies a window of the index, or that of a moment."""
    return entry.bag, entry.modality, entry.topic, entry.stamp_ns


def reread(binder: Binder, entries: Iterable[Entry]) -> Reread:
    """Encode windows of an index again, with tokens.

    Args:
        binder: The model set of the index.
        entries: The windows; those of modalities without a readout are left out.
    """
    found = Reread()
    by_bag: dict[str, dict[Key, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.modality in binder.readouts:
            by_bag[entry.bag][key_of(entry)] = entry
    prepared: dict[str, list[tuple[Key, Tensor]]] = defaultdict(list)
    for bag, wanted in by_bag.items():
        try:
            for key, window in _windows(Path(bag), list(wanted.values())):
                inputs = _inputs(binder, window)
                if inputs is not None:
                    prepared[window.modality].append((key, inputs))
        except (BagError, OSError) as error:
            found.gone[bag] = str(error)
        for modality, waiting in prepared.items():
            while len(waiting) >= BATCH:
                _encode(binder, modality, waiting[:BATCH], found)
                del waiting[:BATCH]
    for modality, waiting in prepared.items():
        if waiting:
            _encode(binder, modality, waiting, found)
    return found


def _encode(
    binder: Binder, modality: str, waiting: Sequence[tuple[Key, Tensor]], found: Reread
) -> None:
    inputs = torch.cat([each for _, each in waiting])
    encoded = binder.encode_evidence({modality: inputs})[modality]
    found.evidence.update(zip((key for key, _ in waiting), encoded, strict=True))


def _inputs(binder: Binder, window: Window) -> Tensor | None:
    try:
        return binder.preprocess(window.modality, window.raw())
    except ValueError:  # reported when it was indexed
        return None


def _windows(bag: Path, wanted: Sequence[Entry]) -> Iterator[tuple[Key, Window]]:
    """The windows of a bag at the times of some entries."""
    span = bag_span_ns(bag)
    if span is None:
        raise BagError(f'{bag}: has no index of its times')
    times = {key_of(e): span[0] + round(e.time_s * 1e9) for e in wanted}
    topics: dict[str, list[str]] = {}
    for entry in wanted:
        named = topics.setdefault(entry.modality, [])
        if entry.topic not in named:
            named.append(entry.topic)
    places = [(e, times[key_of(e)]) for e in wanted]
    for between in _spans(places):
        open_ = [(e, t) for e, t in places if between[0] <= t <= between[1]]
        for window in read_windows(
            bag,
            SensorTopics(topics),
            modalities=tuple(topics),
            max_rate_hz=0.0,
            report=BagReport(bag),
            between=between,
        ):
            for entry, time_ns in open_:
                is_same = (entry.modality, entry.topic) == (window.modality, window.topic)
                if is_same and abs(window.log_ns - time_ns) <= TOLERANCE_NS:
                    yield key_of(entry), window


def _spans(places: Sequence[tuple[Entry, int]]) -> list[Span]:
    """Spans of time that hold all windows with what comes before them, without overlaps."""
    spans: list[Span] = []
    for entry, time_ns in sorted(places, key=lambda place: place[1]):
        lead_ns = LEAD_NS[MODALITIES[entry.modality].kind]
        begin, end = time_ns - lead_ns - TOLERANCE_NS, time_ns + TOLERANCE_NS
        while spans and begin <= spans[-1][1]:
            begin = min(spans.pop()[0], begin)
        spans.append((begin, end))
    return spans
