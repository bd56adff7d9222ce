"""Search for moments that match a sentence or an example, best first, each scene once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders import MODALITIES, Binder, Predicate, PredicateBank
from encoders.predicates.bank import text_vectors
from train.score.embed import Embeddings
from train.search.arguments import APART_S
from train.search.store import Entry, MomentStore

CANDIDATES = 10  # initial number per requested answer
MAX_CANDIDATES = 20_000  # per sensor
SAMPLED = 300  # moments for the distribution of scores
EVIDENCE_NS = 1_000_000_000  # the largest age of live evidence
MAX_EXAMPLE_OFFSET_S = 1.0

Vector = NDArray[np.float32]
Placed = TypeVar('Placed', Entry, 'Moment')


@dataclass(frozen=True, slots=True)
class Moment:
    """One answer.

    Attributes:
        bag: Path of the bag.
        time_s: Seconds since the start of the recording.
        stamp_ns: Stamp of the sensor message that matches best.
        modality: Modality of that sensor.
        topic: Topic of that sensor.
        score: Standard deviations above the mean of the index; only the order is meaningful.
        probability: Probability of the sentence; None for an example.
        cosines: Cosine of every sensor that was evaluated.
        calibrated: Whether the probability was fitted to labelled data; None for an example.
    """

    bag: str
    time_s: float
    stamp_ns: int
    modality: str
    topic: str
    score: float
    probability: float | None = None
    cosines: dict[str, float] = field(default_factory=dict)
    calibrated: bool | None = None

    @property
    def supported(self) -> bool:
        """Whether the score is above that of an average moment, and the answer not improbable."""
        improbable = bool(self.calibrated) and (self.probability or 0.0) < 0.5
        return self.score > 0 and not improbable

    @classmethod
    def of(
        cls,
        entry: Entry,
        *,
        score: float,
        cosines: Mapping[str, float],
        probability: float | None = None,
        calibrated: bool | None = None,
    ) -> Moment:
        """Create a moment from the entry that matches best, with rounded numbers."""
        return cls(
            bag=entry.bag,
            time_s=round(entry.time_s, 3),
            stamp_ns=entry.stamp_ns,
            modality=entry.modality,
            topic=entry.topic,
            score=round(score, 4),
            probability=None if probability is None else round(probability, 4),
            cosines={modality: round(value, 4) for modality, value in cosines.items()},
            calibrated=calibrated,
        )


def find_sentence(
    store: MomentStore,
    binder: Binder,
    sentence: str,
    *,
    modalities: Sequence[str],
    top: int,
    apart_s: float = APART_S,
) -> list[Moment]:
    """Find the moments that match a sentence best.

    The score is the sum of two numbers, each in standard deviations over the index: the log-odds
    of the sentence, from all requested sensors and the predicate bank used live, and the
    similarity of the sensor data to the sentence itself. The first measures the state (open, not
    closed), the second whether the named things are present.

    Raises:
        SpaceError: The language spaces of index and model differ.
        PredicateError: The sentence is empty.
    """
    store.check_space(binder.space)
    question = _Question.ask(store, binder, sentence, modalities)

    def judged(count: int) -> list[Moment]:
        proposed = sorted(question.propose(store, count), key=lambda p: -p[0])
        centres = _apart([e for _, e in proposed], apart_s=apart_s / 2, top=max(4 * top, 100))
        near = store.around(
            [(e.bag, e.stamp_ns) for e in centres], within_ns=EVIDENCE_NS, modalities=modalities
        )
        by_bag: dict[str, list[Entry]] = {}
        for entry in near:
            by_bag.setdefault(entry.bag, []).append(entry)
        return [question.judge(centre, by_bag.get(centre.bag, [])) for centre in centres]

    return _best_apart(judged, store, apart_s=apart_s, top=top)


def _best_apart(
    found: Callable[[int], list[Moment]], store: MomentStore, *, apart_s: float, top: int
) -> list[Moment]:
    """The best `top` moments with a minimum distance in time, or fewer if the index has fewer.

    Args:
        found: Returns moments from a number of candidates per sensor. The best ones are often
            neighbours, of which only one is kept; then more candidates are requested.
        store: The index.
        apart_s: Minimum seconds between answers of one bag.
        top: Number of answers.
    """
    count = max(top * CANDIDATES, 100)
    while True:
        best_first = sorted(found(count), key=lambda moment: -moment.score)
        answers = _apart(best_first, apart_s=apart_s, top=top)
        if len(answers) == top or count >= min(len(store), MAX_CANDIDATES):
            return answers
        count *= 4


@dataclass(frozen=True, slots=True)
class _Scale:
    """Mean and standard deviation of a quantity over the index."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> _Scale:
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def __call__(self, value: float) -> float:
        return (value - self.mean) / self.deviation


@dataclass(frozen=True, slots=True)
class _Question:
    """A sentence with the distributions to which its scores are compared.

    The score of a moment is approximately the sum over its sensors of the product of their vectors
    with `along`, minus `usual`, so the entries with the largest products are the candidates.
    """

    bank: PredicateBank
    said: Vector
    said_scales: dict[str, _Scale]
    odds: _Scale
    along: dict[str, Vector]
    usual: dict[str, float]

    @classmethod
    def ask(
        cls, store: MomentStore, binder: Binder, sentence: str, modalities: Sequence[str]
    ) -> _Question:
        predicate = Predicate.from_sentence(sentence)
        bank = PredicateBank([predicate], binder)
        said, contrast = text_vectors(binder, predicate)
        if binder.calibration is not None and bank.table.calibrated[0]:
            contrast = binder.calibration.anchored(said[None], contrast[None])[0]
        samples = {m: store.sample(m) for m in modalities}
        samples = {m: rows for m, rows in samples.items() if len(rows)}
        count = min((len(rows) for rows in samples.values()), default=0)
        moments = [{m: rows[i] for m, rows in samples.items()} for i in range(min(count, SAMPLED))]
        odds = _Scale.of(
            np.array([_log_odds(bank.score(moment)[0].fused) for moment in moments] or [0.0])
        )
        said_scales = {m: _Scale.of(rows @ said) for m, rows in samples.items()}
        seen = _seen(samples)
        slopes = _slopes(bank, samples)
        along = {
            m: np.asarray(
                slopes.get(m, 0.0) / odds.deviation * contrast
                + (said / (said_scales[m].deviation * len(seen)) if m in seen else 0.0),
                np.float32,
            )
            for m in samples
        }
        usual = {m: float((rows @ along[m]).mean()) for m, rows in samples.items()}
        return cls(bank, said, said_scales, odds, along, usual)

    def propose(self, store: MomentStore, count: int) -> list[tuple[float, Entry]]:
        """The windows of each sensor with the largest approximate scores, and these scores."""
        found = []
        for modality, along in self.along.items():
            length = float(np.linalg.norm(along))
            if length > 0:
                entries = store.nearest(along / length, modality, limit=count)
                found += [(length * e.cosine - self.usual[modality], e) for e in entries]
        return found

    def judge(self, centre: Entry, near: Sequence[Entry]) -> Moment:
        """Score a moment with all sensors near it."""
        evidence: dict[str, Entry] = {}
        for entry in near:
            best = evidence.get(entry.modality)
            offset = abs(entry.stamp_ns - centre.stamp_ns)
            if offset <= EVIDENCE_NS and (
                best is None or offset < abs(best.stamp_ns - centre.stamp_ns)
            ):
                evidence[entry.modality] = entry
        evidence[centre.modality] = centre
        score = self.bank.score({m: e.vector for m, e in evidence.items()})[0]
        near_said = [
            self.said_scales[m](float(evidence[m].vector @ self.said)) for m in _seen(evidence)
        ]
        return Moment.of(
            centre,
            score=self.odds(_log_odds(score.fused)) + float(np.mean(near_said)),
            probability=score.fused,
            cosines=score.similarity,
            calibrated=score.calibrated,
        )


def _seen(modalities: Iterable[str]) -> list[str]:
    """Modalities that show objects; audio describes events, and is used only on its own."""
    given = list(modalities)
    return [m for m in given if MODALITIES[m].kind != 'sound'] or given


def _slopes(bank: PredicateBank, modalities: Iterable[str]) -> dict[str, float]:
    """Derivatives of the fused log-odds of a bank's only sentence by each modality's cosine."""
    columns = {m: bank.table.columns[m] for m in modalities if m in bank.table.columns}
    votes = sum(float(column.weight[0]) for column in columns.values())
    scale = 1.0 if bank.table.calibrated[0] else 1.0 / max(votes, 1e-9)
    return {m: scale * float(c.weight[0] * c.slope[0]) for m, c in columns.items()}


def _log_odds(probability: float) -> float:
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(limited / (1 - limited))


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
    scales = {m: _Scale.of(samples[m] @ query) for m, query in queries.items()}

    def nearest(count: int) -> list[Moment]:
        return [
            Moment.of(entry, score=scales[m](entry.cosine), cosines={m: entry.cosine})
            for m, query in queries.items()
            for entry in store.nearest(query, m, limit=count)
            if entry.bag != example.bag or abs(entry.time_s - example.time_s) >= apart_s
        ]

    return _best_apart(nearest, store, apart_s=apart_s, top=top)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, np.float32)


def _apart(best_first: Iterable[Placed], *, apart_s: float, top: int) -> list[Placed]:
    """Drop entries that are near a better one of the same bag."""
    kept: list[Placed] = []
    for one in best_first:
        if all(one.bag != k.bag or abs(one.time_s - k.time_s) >= apart_s for k in kept):
            kept.append(one)
            if len(kept) == top:
                break
    return kept


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
