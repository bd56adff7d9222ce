"""The moments of bags whose label would help a predicate most: uncertain, and not alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, PredicateBank
from encoders.decode import DecodeError
from encoders.predicates.lessons import Press
from train.bags.folder import bag_span_ns
from train.bags.reader import BagReport
from train.score.embed import BagSource, embed_bag
from train.score.parts import Embeddings
from train.score.thumbnail import thumbnail
from train.score.track import track
from train.score.windows import Window

# Windows per second and sensor at most: neighbouring moments would not be suggested anyway.
MAX_RATE_HZ = 2.0
APART_S = 1.0
# The uncertainty of a moment that is certain, so that unlike moments are still preferred.
LEAST = 0.02
COMPARED = 200  # moments whose distances give the usual one

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A moment of a bag.

    Attributes:
        bag: Path of the bag.
        stamp_ns: Stamp of the moment.
        time_s: Seconds since the first sensor data of the bag, as in a file of labels.
        recorded_s: Seconds since the start of the recording, as for `lb-ros dashboard BAG@...`.
        probability: Probability of the predicate.
        can_tell: Whether any sensor is informative.
        vectors: By modality with evidence, its vector, float32 `[D]`, unit length.
    """

    bag: Path
    stamp_ns: int
    time_s: float
    recorded_s: float
    probability: float
    can_tell: bool
    vectors: Mapping[str, Floats]

    @property
    def uncertainty(self) -> float:
        """From 0, certain, to 1."""
        return 1 - abs(2 * self.probability - 1)


@dataclass(frozen=True, slots=True)
class Suggested:
    """A moment to label, with how much its label would help, 0 to 1: only the order matters."""

    moment: Candidate
    gain: float


def candidates_of(bank: PredicateBank, source: BagSource, report: BagReport) -> list[Candidate]:
    """The moments of a bag, as the only predicate of a bank reads them.

    Raises:
        BagError: No message of the bag can be read.
    """
    slow = replace(source, max_rate_hz=min(source.max_rate_hz or MAX_RATE_HZ, MAX_RATE_HZ))
    with tempfile.TemporaryDirectory() as folder:
        embeddings = embed_bag(
            bank.binder,
            slow,
            store=Path(folder) / 'e',
            report=report,
            predicates=bank.predicates,
            lessons=bank.lessons,
        ).evidence()
    if not len(embeddings):
        return []
    span = bag_span_ns(source.path)
    start_ns = int(embeddings.log_ns.min()) if span is None else span[0]
    first_ns = int(embeddings.stamp_ns.min())
    found = []
    for scored in track(bank.binder, bank.predicates, embeddings, lessons=bank.lessons):
        if scored.fresh:
            scores = scored.evaluation.scores
            found.append(
                Candidate(
                    bag=source.path,
                    stamp_ns=scored.time_ns,
                    time_s=(scored.time_ns - first_ns) * 1e-9,
                    recorded_s=max(0.0, (scored.log_ns - start_ns) * 1e-9),
                    probability=float(scores.fused[0]),
                    can_tell=bool(scores.can_tell[0]),
                    vectors=_newest(embeddings, scored.time_ns),
                )
            )
    return found


def _newest(embeddings: Embeddings, time_ns: int) -> dict[str, Floats]:
    """The newest vector of every modality at a time."""
    found = {}
    for name in MODALITIES:
        rows = np.flatnonzero((embeddings.modality == name) & (embeddings.stamp_ns <= time_ns))
        if len(rows):
            found[name] = embeddings.vectors[rows[embeddings.stamp_ns[rows].argmax()]]
    return found


def suggest(
    candidates: Sequence[Candidate], presses: Sequence[Press] = (), *, count: int
) -> list[Suggested]:
    """Choose moments one by one: the most uncertain that are unlike presses and earlier choices.

    Args:
        candidates: Moments of some bags.
        presses: What the predicate was taught.
        count: Number of moments at most.
    """
    if not candidates:
        return []
    names = list(dict.fromkeys(name for one in candidates for name in one.vectors))
    rows = np.stack([_row(one.vectors, names) for one in candidates])
    usual = _usual(rows)
    nearest = np.full(len(rows), np.inf)
    for press in presses:
        nearest = np.minimum(nearest, _distances(rows, _row(press.vectors, names)))
    uncertain = np.array([max(one.uncertainty, LEAST) for one in candidates])
    free = np.ones(len(rows), bool)
    chosen: list[Suggested] = []
    while len(chosen) < count and free.any():
        gains = np.where(free, uncertain * np.minimum(1.0, nearest / usual), -1.0)
        best = int(gains.argmax())
        chosen.append(Suggested(candidates[best], float(gains[best])))
        nearest = np.minimum(nearest, _distances(rows, rows[best]))
        free &= ~_neighbours(candidates, candidates[best])
    return chosen


def _row(vectors: Mapping[str, NDArray[np.floating]], names: Sequence[str]) -> Floats:
    """The vectors of all sensors side by side; 0 for a silent one."""
    width = next(len(vector) for vector in vectors.values())
    row = np.zeros((len(names), width), np.float32)
    for place, name in enumerate(names):
        if name in vectors:
            row[place] = vectors[name]
    return row.ravel() / np.float32(len(names) ** 0.5)


def _distances(rows: Floats, row: Floats) -> Floats:
    return np.asarray(((rows - row) ** 2).sum(axis=1), np.float32)


def _usual(rows: Floats) -> float:
    """The median distance of two moments."""
    some = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED).astype(int))]
    apart = np.stack([_distances(some, row) for row in some])
    between = apart[~np.eye(len(some), dtype=bool)]
    return max(float(np.median(between)) if between.size else 0.0, 1e-6)


def _neighbours(candidates: Iterable[Candidate], chosen: Candidate) -> NDArray[np.bool_]:
    near_ns = APART_S * 1e9
    return np.array(
        [one.bag == chosen.bag and abs(one.stamp_ns - chosen.stamp_ns) < near_ns
         for one in candidates], bool
    )  # fmt: skip


def write_pictures(
    suggested: Sequence[Suggested],
    source_of: Callable[[Path], BagSource],
    folder: Path,
) -> list[dict[str, str]]:
    """Write what the sensors showed as JPEG files; modality to file name for each moment."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, str]] = [{} for _ in suggested]
    for bag in dict.fromkeys(each.moment.bag for each in suggested):
        mine = [n for n, each in enumerate(suggested) if each.moment.bag == bag]
        shown: dict[tuple[int, str], Window] = {}
        for window in source_of(bag).windows(BagReport(bag)):
            for number in mine:
                if window.stamp_ns <= suggested[number].moment.stamp_ns:
                    shown[number, window.modality] = window
        for (number, modality), window in shown.items():
            try:
                jpeg = thumbnail(modality, window.raw())
            except (DecodeError, ValueError):  # reported when it was embedded
                continue
            name = f'{number + 1:03d}-{modality}.jpg'
            (folder / name).write_bytes(jpeg)
            files[number][modality] = name
    return files
