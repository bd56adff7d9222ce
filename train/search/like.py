"""Search for moments that are similar to an example."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.score.embed import Embeddings
from train.search.arguments import APART_S
from train.search.moment import Moment, Scale, best_apart
from train.search.store import MomentStore

MAX_EXAMPLE_OFFSET_S = 1.0

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """A moment for which to find similar ones.

    Attributes:
        bag: Path of the bag.
        time_s: Seconds since the start of the recording.
        vectors: Modality to unit vector `[D]`.
    """

    bag: str
    time_s: float
    vectors: Mapping[str, Vector]


def find_like(
    store: MomentStore,
    example: Example,
    *,
    modalities: Sequence[str],
    top: int,
    like: Sequence[str] = (),
    apart_s: float = APART_S,
) -> list[Moment]:
    """Find moments that are similar to an example, without the example itself.

    A modality of the example is compared with itself; other modalities, and all with `like`, are
    compared with the mean of the example's. Vectors of one sensor share a direction that only
    identifies the sensor, so the mean of each modality is subtracted first.

    Args:
        store: The index.
        example: The example.
        modalities: Modalities to search.
        top: Number of answers.
        like: Compare with these modalities of the example only.
        apart_s: Minimum seconds between answers of one bag.

    Raises:
        ValueError: The example has none of the modalities of `like`.
    """
    usable = {m: v for m, v in example.vectors.items() if not like or m in like}
    if not usable:
        given = ', '.join(example.vectors) or 'nothing'
        raise ValueError(f'{example.bag}@{example.time_s}s: no {", ".join(like)}, only {given}')
    samples = {m: store.sample(m) for m in {*modalities, *usable}}
    means = {m: s.mean(axis=0) for m, s in samples.items() if len(s)}
    centred = {m: v - means[m] for m, v in usable.items() if m in means}
    queries = {}
    for modality in (m for m in modalities if m in means):
        alike = {modality: centred[modality]} if modality in centred else centred
        queries[modality] = _unit(np.mean([_unit(v) for v in alike.values()], axis=0))
    scales = {m: Scale.of(samples[m] @ query) for m, query in queries.items()}

    def nearest(count: int) -> list[Moment]:
        return [
            Moment.of(entry, score=scales[m](entry.cosine), cosines={m: entry.cosine})
            for m, query in queries.items()
            for entry in store.nearest(query, m, limit=count)
            if entry.bag != example.bag or abs(entry.time_s - example.time_s) >= apart_s
        ]

    return best_apart(nearest, store, apart_s=apart_s, top=top)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, np.float32)


def parse_place(word: str) -> tuple[str, float]:
    """Parse `BAG@12.5s` as a bag and seconds.

    Raises:
        ValueError: The word is malformed.
    """
    bag, at, time_s = word.rpartition('@')
    try:
        seconds = float(time_s.removesuffix('s'))
    except ValueError:
        seconds = math.nan
    if not at or not bag or not math.isfinite(seconds):
        raise ValueError(f'{word!r}: expected BAG@SECONDS, as in bags/kitchen@12.5s')
    return bag, seconds


def resolve_bag(store: MomentStore, word: str) -> str | None:
    """Return the stored path of a bag given by path or by name; None if it is not stored.

    Raises:
        ValueError: Several stored bags have that name.
    """
    paths = store.bags()
    if str(Path(word).resolve()) in paths:
        return str(Path(word).resolve())
    named = [path for path in paths if Path(path).name == word or Path(path).stem == word]
    if len(named) > 1:
        raise ValueError(f'{word!r} names {len(named)} bags of the index; give the path')
    return named[0] if named else None


def example_at(
    store: MomentStore, word: str, *, embed: Callable[[Path], tuple[Embeddings, int]]
) -> Example:
    """Return the moment `BAG@12.5s`, from the index if the bag is stored, otherwise from the bag.

    Args:
        store: The index.
        word: Path or name of the bag, and seconds since the start of its recording.
        embed: Embeds a bag that is not stored; also returns the start of its recording.

    Raises:
        FileNotFoundError: The bag is neither stored nor on disk.
        ValueError: There is no sensor data within a second of that moment.
    """
    name, time_s = parse_place(word)
    path = resolve_bag(store, name)
    if path is not None:
        entries = store.at(path, time_s, within_s=MAX_EXAMPLE_OFFSET_S)
        places = [(e.modality, e.time_s, e.vector) for e in entries]
    else:
        found, start_ns = embed(Path(name))
        path, times_s = str(Path(name).resolve()), (found.log_ns - start_ns) * 1e-9
        columns = zip(found.modality, times_s, found.vectors, strict=True)
        places = [(str(m), float(t), v) for m, t, v in columns]
    nearest: dict[str, tuple[float, Vector]] = {}
    for modality, at_s, vector in places:
        offset_s = abs(at_s - time_s)
        best_s = nearest[modality][0] if modality in nearest else MAX_EXAMPLE_OFFSET_S
        if offset_s <= best_s:
            nearest[modality] = (offset_s, vector)
    if not nearest:
        raise ValueError(f'{word}: no sensor data within {MAX_EXAMPLE_OFFSET_S:.0f} s of it')
    return Example(path, time_s, {m: vector for m, (_, vector) in nearest.items()})
