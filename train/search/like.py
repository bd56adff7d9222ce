"""Search for moments that are similar to an example.

Vectors find moments that look alike. Where the model set has calibrated readouts, the best of them
are ordered by whether the same facts hold: every calibrated fact is read from the tokens of the
example and of each moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import Binder
from train.score.facts import FactReader
from train.score.parts import Embeddings
from train.search.arguments import APART_S
from train.search.moment import Moment, Scale, apart, best_apart
from train.search.reread import USUAL, Rereading, gather, key_of
from train.search.store import Entry, MomentStore

MAX_EXAMPLE_OFFSET_S = 1.0

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """A moment for which to find similar ones.

    Attributes:
        bag: Path of the bag.
        time_s: Seconds since the start of the recording.
        vectors: Modality to unit vector `[D]`.
        windows: Modality to the window of the bag that has this vector, to be encoded again; may
            be empty.
    """

    bag: str
    time_s: float
    vectors: Mapping[str, Vector]
    windows: Mapping[str, Entry] = field(default_factory=dict)


def find_like(
    store: MomentStore,
    example: Example,
    *,
    modalities: Sequence[str],
    top: int,
    like: Sequence[str] = (),
    apart_s: float = APART_S,
    binder: Binder | None = None,
    again: Rereading = USUAL,
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
        binder: The model set of the index, to encode moments again; None orders by vectors alone.
        again: How the best moments are encoded again.

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

    facts = None if binder is None or not again.count else FactReader.of(binder)
    windows = {m: e for m, e in example.windows.items() if m in usable}
    if facts is None or not windows:
        return best_apart(nearest, store, apart_s=apart_s, top=top)
    candidates = best_apart(nearest, store, apart_s=apart_s / 2, top=max(top, again.count))
    moments = _ordered_again(store, facts, windows, candidates, modalities, again=again)
    return apart(sorted(moments, key=lambda moment: -moment.score), apart_s=apart_s, top=top)


def _ordered_again(
    store: MomentStore,
    facts: FactReader,
    windows: Mapping[str, Entry],
    candidates: Sequence[Moment],
    modalities: Sequence[str],
    *,
    again: Rereading,
) -> list[Moment]:
    """The candidates with scores to which agreement about facts is added."""
    gathered = gather(store, candidates, modalities=modalities)
    read = [gathered[key_of(moment)] for moment in candidates]
    found = again.of(facts.binder, [e for near in (windows, *read) for e in near.values()])

    def beliefs(near: Mapping[str, Entry]) -> Vector | None:
        evidence = {m: found[key_of(e)] for m, e in near.items() if key_of(e) in found}
        return facts.beliefs(evidence) if evidence else None

    wanted, held = beliefs(windows), [beliefs(near) for near in read]
    known = [each for each in held if each is not None]
    if wanted is None or not known:
        return list(candidates)
    usual = np.mean(known, axis=0)
    agreement = [
        None if each is None else float(_unit(wanted - usual) @ _unit(each - usual))
        for each in held
    ]
    scale = Scale.of(np.array([value for value in agreement if value is not None]))
    looks = Scale.of(np.array([moment.score for moment in candidates]))
    return [
        replace(moment, score=round(looks(moment.score), 4))
        if value is None
        else replace(
            moment, score=round(looks(moment.score) + scale(value), 4), read_from='tokens'
        )
        for moment, value in zip(candidates, agreement, strict=True)
    ]


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
    else:
        found, start_ns = embed(Path(name))
        path = str(Path(name).resolve())
        entries = _entries(path, found, start_ns)
    nearest: dict[str, Entry] = {}
    for entry in entries:
        best = nearest.get(entry.modality)
        best_s = MAX_EXAMPLE_OFFSET_S if best is None else abs(best.time_s - time_s)
        if abs(entry.time_s - time_s) <= best_s:
            nearest[entry.modality] = entry
    if not nearest:
        raise ValueError(f'{word}: no sensor data within {MAX_EXAMPLE_OFFSET_S:.0f} s of it')
    return Example(path, time_s, {m: e.vector for m, e in nearest.items()}, nearest)


def _entries(bag: str, found: Embeddings, start_ns: int) -> list[Entry]:
    """The windows of a bag that is not in the index."""
    return [
        Entry(
            bag=bag,
            modality=str(found.modality[row]),
            topic=str(found.topic[row]),
            stamp_ns=int(found.stamp_ns[row]),
            start_ns=int(found.start_ns[row]),
            time_s=float(found.log_ns[row] - start_ns) * 1e-9,
            vector=found.vectors[row],
            cosine=0.0,
        )
        for row in range(len(found))
    ]
