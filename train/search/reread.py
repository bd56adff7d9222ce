"""Evidence with tokens of indexed windows, encoded again from their bags.

Tokens are not stored in the index: they would take 50 times the space of the vectors. A query
encodes again the moments that it may answer with, a few hundred windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoders import Binder, Evidence
from encoders.preprocess import Config
from train.bags.folder import BagError, bag_span_ns
from train.score.again import Place, evidence_again, windows_again
from train.score.windows import Window
from train.search.arguments import REREAD
from train.search.moment import Moment, Source
from train.search.store import Entry, MomentStore

EVIDENCE_NS = 1_000_000_000  # the largest age of live evidence

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
        count: Number of moments; 0 orders by what the index stores.
        problem: Called with one line for every bag that could not be read again.
        progress: Called with the share of the windows that was done, 0..1.
    """

    count: int = REREAD
    problem: Callable[[str], object] = lambda line: None
    progress: Callable[[float], object] = lambda share: None

    def of(
        self, binder: Binder, entries: Iterable[Entry], *, otherwise: Source = 'vector'
    ) -> dict[Key, Evidence]:
        """The result of `reread`; bags that are gone are reported, and what orders them then."""
        found = reread(binder, entries, progress=self.progress)
        stored = {'facts': 'facts', 'vector': 'vectors'}[otherwise]
        for bag, reason in found.gone.items():
            self.problem(f'{reason}; the moments of {bag} are ordered by their {stored}')
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
    gone: dict[str, str] = {}
    by_bag: dict[str, dict[Key, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.modality in binder.readouts:
            by_bag[entry.bag][key_of(entry)] = entry
    total = max(sum(map(len, by_bag.values())), 1)
    windows = _windows(by_bag, binder.preprocessing, gone)
    found = evidence_again(binder, windows, done=lambda count: progress(count / total))
    progress(1.0)
    return Reread(found, gone)


def _windows(
    by_bag: Mapping[str, Mapping[Key, Entry]], configs: Mapping[str, Config], gone: dict[str, str]
) -> Iterator[tuple[Key, Window]]:
    """The windows of some entries; `gone` is filled with the bags that cannot be read."""
    for bag, wanted in by_bag.items():
        try:
            places = _places(bag, wanted)
            for place, window in windows_again(Path(bag), list(places), configs=configs):
                yield places[place], window
        except (BagError, OSError) as error:
            gone[bag] = str(error)


def _places(bag: str, wanted: Mapping[Key, Entry]) -> dict[Place, Key]:
    span = bag_span_ns(Path(bag))
    if span is None:
        raise BagError(f'{bag}: has no index of its times')
    return {
        Place(entry.modality, entry.topic, span[0] + round(entry.time_s * 1e9)): key
        for key, entry in wanted.items()
    }
