"""Addition of bags to an index: each bag completely or not at all, and none twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from encoders import Binder
from encoders.decode import DecodeError
from train.bags.folder import BagError, bag_span_ns, nothing_in
from train.bags.reader import BagReport
from train.score.embed import FORMAT, BagSource, embed_bag, fingerprint
from train.score.facts import FactReader
from train.score.thumbnail import thumbnail
from train.search.store import About, MomentStore, NoIndexError

THUMBNAIL_STEP_NS = 1_000_000_000
WORK = 'unfinished'


@dataclass(frozen=True, slots=True)
class IndexedBag:
    """Result for one bag: number of stored windows, and whether it was already in the index."""

    bag: str
    windows: int
    known: bool


def about_for(binder: Binder) -> About:
    """Describes a new index of the vectors and facts of a model set."""
    dimensions = binder.embed_text(['the dimensions of this space']).shape[1]
    facts = FactReader.of(binder)
    if facts is None:
        return About(binder.space, binder.model, dimensions)
    count = len(facts.calibration.names)
    return About(binder.space, binder.model, dimensions, count, facts.identity)


def facts_of(store: MomentStore, binder: Binder) -> FactReader | None:
    """The facts that an index keeps; None if it keeps none.

    Raises:
        NoIndexError: Its facts are of other readouts than those of the model set.
    """
    if not store.about.facts:
        return None
    facts = FactReader.of(binder)
    if facts is None or facts.identity != store.about.facts_id:
        raise NoIndexError(
            f'{store.uri} holds what other readouts, or another calibration of them, say about '
            f'its windows; make it anew'
        )
    return facts


def index_bag(
    binder: Binder,
    source: BagSource,
    store: MomentStore,
    *,
    work: Path,
    report: BagReport,
    facts: FactReader | None = None,
    progress: Callable[[int], None] = lambda log_ns: None,
) -> IndexedBag:
    """Add a bag, unless the same version is already stored.

    Args:
        binder: The encoders.
        source: The bag.
        store: The index.
        work: Folder from which an interrupted run can be resumed.
        report: Filled with what could not be used.
        facts: The facts that the index keeps of every window; None if it keeps none.
        progress: Called with the recording time that was reached.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: It has no data to encode; nothing of it is stored.
        SpaceError: The language spaces of index and model differ.
    """
    store.check_space(binder.space)
    path = str(source.path.resolve())
    key = _key(binder, source)
    if store.bags().get(path) == key:
        return IndexedBag(path, 0, known=True)
    unfinished = work / WORK / key
    try:
        found = embed_bag(
            binder, source, store=unfinished, report=report, progress=progress, facts=facts
        )
        if not len(found):
            raise nothing_in(source.path, 'nothing to index', report.problems)
    except BagError:
        shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            unfinished.parent.rmdir()  # fails while other bags are unfinished
        raise
    found = found.evidence()  # without invalid windows, which the report names
    if len(found):
        span = bag_span_ns(source.path)
        start_ns = span[0] if span else int(found.log_ns.min())
        pictures = _thumbnails(source)
        store.add_bag(path, key, found, start_log_ns=start_ns, thumbnails=pictures)
    shutil.rmtree(unfinished)
    return IndexedBag(path, len(found), known=False)


def _key(binder: Binder, source: BagSource) -> str:
    described = {
        'format': FORMAT,
        'bag': fingerprint(source.path),
        'model': binder.model,
        'weights': binder.weights_sha256,
        'topics': {m: list(topics) for m, topics in source.topics.named.items()},
        'modalities': list(source.modalities),
        'max_rate_hz': source.max_rate_hz,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _thumbnails(source: BagSource) -> list[tuple[int, str, bytes]]:
    found: list[tuple[int, str, bytes]] = []
    due_ns: dict[str, int] = {}
    for window in source.windows(BagReport(source.path)):
        if window.stamp_ns < due_ns.get(window.modality, window.stamp_ns):
            continue
        due_ns[window.modality] = window.stamp_ns + THUMBNAIL_STEP_NS
        try:
            picture = thumbnail(window.modality, window.raw())
        except (DecodeError, ValueError):  # reported when it was embedded
            continue
        found.append((window.stamp_ns, window.modality, picture))
    return found
