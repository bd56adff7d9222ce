"""Evidence with tokens of indexed windows, encoded again from their bags.

Tokens are not stored in the index: they would take 50 times the space of the vectors. A query
encodes again the moments that it may answer with, a few hundred windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from train.search.arguments import REREAD
from train.search.moment import Moment
from train.search.store import Entry, MomentStore

EVIDENCE_NS = 1_000_000_000  # the largest age of live evidence
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


@dataclass(frozen=True, slots=True)
class Rereading:
    """How a search encodes its best moments again.

    Attributes:
        count: Number of moments; 0 orders by vectors alone.
        problem: Called with one line for every bag that could not be read again.
        progress: Called with the share of the windows that was done, 0..1.
    """

    count: int = REREAD
    problem: Callable[[str], object] = lambda line: None
    progress: Callable[[float], object] = lambda share: None

    def of(self, binder: Binder, entries: Iterable[Entry]) -> dict[Key, Evidence]:
        """The result of `reread`; bags that are gone are reported."""
        found = reread(binder, entries, progress=self.progress)
        for bag, reason in found.gone.items():
            self.problem(f'{reason}; the moments of {bag} are ordered by their vectors')
        return found.evidence


USUAL = Rereading()


def key_of(entry: Entry | Moment) -> Key:
    """Identifies a window of the index, or that of a moment."""
    return entry.bag, entry.modality, entry.topic, entry.stamp_ns


def gather(
    store: MomentStore, centres: Sequence[Entry | Moment], *, modalities: Sequence[str]
) -> dict[Key, dict[str, Entry]]:
    """The window of each sensor that is nearest to a moment, by `key_of` the moment's own window.

    Args:
        store: The index.
        centres: The windows of the moments.
        modalities: Sensors to look for.
    """
    near = store.around(
        [(e.bag, e.stamp_ns) for e in centres], within_ns=EVIDENCE_NS, modalities=modalities
    )
    by_bag: dict[str, list[Entry]] = defaultdict(list)
    for entry in near:
        by_bag[entry.bag].append(entry)
    return {key_of(c): _nearest(c, by_bag[c.bag]) for c in centres}


def _nearest(centre: Entry | Moment, near: Sequence[Entry]) -> dict[str, Entry]:
    evidence: dict[str, Entry] = {}
    for entry in near:
        if key_of(entry) == key_of(centre):
            evidence[entry.modality] = entry
            continue
        best = evidence.get(entry.modality)
        offset = abs(entry.stamp_ns - centre.stamp_ns)
        if offset <= EVIDENCE_NS and (
            best is None or offset < abs(best.stamp_ns - centre.stamp_ns)
        ):
            evidence[entry.modality] = entry
    return evidence


def reread(
    binder: Binder,
    entries: Iterable[Entry],
    *,
    progress: Callable[[float], object] = lambda share: None,
) -> Reread:
    """Encode windows of an index again, with tokens.

    Args:
        binder: The model set of the index.
        entries: The windows; those of modalities without a readout are left out.
        progress: Called with the share of the windows that was done, 0..1.
    """
    found = Reread()
    by_bag: dict[str, dict[Key, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.modality in binder.readouts:
            by_bag[entry.bag][key_of(entry)] = entry
    total = max(sum(map(len, by_bag.values())), 1)
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
                progress(len(found.evidence) / total)
    for modality, waiting in prepared.items():
        if waiting:
            _encode(binder, modality, waiting, found)
    progress(1.0)
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
