"""Arrays for all predicates give what a plain loop over predicates gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders import Line, Predicate, PredicateBank, PredicateScore, PredicateTracker
from encoders.predicates.texts import DEFAULT_SLOPE
from encoders.predicates.tracks import Tracks

NAMES = ('image', 'depth', 'audio')
SIZE = 16


class Sentences:
    """A text side that gives every sentence a vector of its own."""

    space, calibration, model, modalities = 'random', None, 'random', NAMES
    readouts: Mapping[str, object] = {}

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [np.random.default_rng(list(text.encode())) for text in texts]
        rows = np.stack([rng.normal(size=SIZE) for rng in seeds])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def unread(self, text: str) -> int:
        return 0


def units(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(count, SIZE))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@st.composite
def predicates(draw: st.DrawFn, name: str) -> Predicate:
    asked = draw(st.sets(st.sampled_from(NAMES)))
    fitted = draw(st.sets(st.sampled_from(sorted(asked or NAMES))))
    off, on = sorted(draw(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9))))
    return Predicate(
        name,
        (f'yes {name}',),
        (f'no {name}',),
        modalities=tuple(sorted(asked)),
        threshold_on=on,
        threshold_off=off,
        dwell_ms=draw(st.sampled_from([0.0, 40.0, 100.0])),
        max_age_ms=draw(st.sampled_from([200.0, 500.0, 1000.0])),
        weights={m: draw(st.sampled_from([0.0, 0.04, 0.5, 2.0])) for m in sorted(fitted)[:1]},
        calibration={m: Line(draw(st.floats(-30, 30)), draw(st.floats(-2, 2))) for m in fitted},
        calibration_space='random' if fitted else '',
    )


@st.composite
def banks(draw: st.DrawFn) -> PredicateBank:
    several = [draw(predicates(f'p{i}')) for i in range(draw(st.integers(1, 5)))]
    return PredicateBank(several, Sentences())  # type: ignore[arg-type]


Evidence = tuple[dict[str, NDArray[np.float32]], dict[str, list[float]]]


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    vectors, ages_ms = {}, {}
    for name in draw(st.sets(st.sampled_from(NAMES))):
        count = draw(st.integers(1, 3))
        vectors[name] = units(rng, count)
        ages_ms[name] = [draw(st.floats(-50, 1200)) for _ in range(count)]
    return vectors, ages_ms


def plain(
    predicate: Predicate,
    vectors: Mapping[str, NDArray[np.float32]],
    ages_ms: Mapping[str, Sequence[float]],
) -> tuple[dict[str, float], dict[str, float], float, bool]:
    """Similarities, probabilities, fused probability, whether any can tell; by numbers."""
    yes, no = (Sentences().embed_text(side)[0] for side in predicate.sentences)
    contrast = (yes - no) / np.linalg.norm(yes - no)
    calibrated = bool(predicate.calibration)
    similarity, probability = {}, {}
    total, votes, can_tell = 0.0, 0.0, False
    for name in vectors:
        if predicate.modalities and name not in predicate.modalities:
            continue
        shares = [age / predicate.max_age_ms for age in ages_ms[name]]
        fresh = [max(min(2 * (1 - s), 1.0), 1e-6) if s <= 1 else 0.0 for s in shares]
        if not sum(fresh):
            continue
        cosines = [float(row @ contrast) for row in vectors[name]]
        mean = sum(f * c for f, c in zip(fresh, cosines, strict=True)) / sum(fresh)
        line = predicate.calibration.get(name, Line(DEFAULT_SLOPE, 0.0))
        default = 0.0 if calibrated else 1.0
        weight = predicate.weights.get(name, 1.0 if name in predicate.calibration else default)
        odds = line.slope * mean + line.offset
        similarity[name], probability[name] = mean, squashed(odds)
        total += weight * max(fresh) * odds
        votes += weight
        can_tell |= weight >= 0.05
    odds = total if calibrated else total / max(votes, 1e-9)
    return similarity, probability, squashed(odds), can_tell


def squashed(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -12.0), 12.0)))


def follow(
    trackers: Mapping[str, PredicateTracker], scores: Sequence[PredicateScore], now_ms: float
) -> set[str]:
    """The plain way to states; returns the names of those that changed."""
    changed = set()
    for score in scores:
        before = trackers[score.name].current.state
        after = trackers[score.name].update(
            now_ms,
            probability=score.fused if score.can_tell else None,
            note='; '.join(score.reasons),
        )
        if after.state is not before:
            changed.add(score.name)
    return changed


@settings(deadline=None)
@given(banks(), evidence())
def test_scores_are_those_of_a_plain_loop(bank: PredicateBank, seen: Evidence) -> None:
    vectors, ages_ms = seen
    for predicate, score in zip(
        bank.predicates, bank.score(vectors, ages_ms=ages_ms), strict=True
    ):
        similarity, probability, fused, can_tell = plain(predicate, vectors, ages_ms)
        assert score.name == predicate.name
        assert score.similarity == pytest.approx(similarity, abs=1e-5)
        assert score.probability == pytest.approx(probability, abs=1e-4)
        assert score.fused == pytest.approx(fused, abs=1e-4)
        assert score.can_tell == can_tell


@settings(deadline=None)
@given(banks(), st.lists(st.tuples(st.floats(0, 120), evidence()), min_size=1, max_size=6))
def test_states_are_those_of_single_trackers(
    bank: PredicateBank, course: list[tuple[float, Evidence]]
) -> None:
    tracks = Tracks.start(bank.predicates)
    trackers = {p.name: PredicateTracker(p) for p in bank.predicates}
    assert dict(tracks) == {name: tracker.current for name, tracker in trackers.items()}
    now_ms = 0.0
    for pause_ms, (vectors, ages_ms) in course:
        now_ms += pause_ms
        rows = {m: bank.similarities(v) for m, v in vectors.items()}
        tracks, changed = tracks.updated(now_ms, bank.weigh(rows, ages_ms=ages_ms))
        assert set(changed) == follow(trackers, bank.score(vectors, ages_ms=ages_ms), now_ms)
        assert dict(tracks) == {name: tracker.current for name, tracker in trackers.items()}
        due_ms = [t.due_ms for t in trackers.values() if t.due_ms is not None]
        assert tracks.due_ms == (min(due_ms) if due_ms else None)


def test_an_unknown_state_changes_with_the_reason_why_evidence_does_not_count() -> None:
    asks = [Predicate(m, (f'yes {m}',), (f'no {m}',), modalities=(m,)) for m in NAMES[:2]]
    bank = PredicateBank(asks, Sentences())  # type: ignore[arg-type]
    rows = {'depth': bank.similarities(units(np.random.default_rng(0), 1))}
    tracks, changed = Tracks.start(asks).updated(0.0, bank.weigh({}))
    assert changed == () and tracks['depth'].reason.startswith('depth silent')
    for now_ms, reason in enumerate(('8-bit', '8-bit', 'no temperature'), 1):
        before = tracks
        scores = bank.weigh(rows, invalid={'depth': [reason]})
        tracks, changed = before.updated(float(now_ms), scores)
        assert changed == (() if reason in before['depth'].reason else ('depth',))
        assert tracks['depth'].reason.startswith(f'depth: {reason}')


@settings(deadline=None)
@given(banks(), evidence(), st.data())
def test_unchanged_predicates_keep_their_state(
    bank: PredicateBank, seen: Evidence, data: st.DataObject
) -> None:
    vectors, ages_ms = seen
    rows = {m: bank.similarities(v) for m, v in vectors.items()}
    scores = bank.weigh(rows, ages_ms=ages_ms)
    before, _ = Tracks.start(bank.predicates).updated(0.0, scores)
    before, _ = before.updated(150.0, scores)
    new = data.draw(st.permutations([*bank.predicates, Predicate('new', ('a',), ('b',))]))
    after = Tracks.start(new, keep=before)
    for name in before:
        assert after[name].state == before[name].state
        assert after[name].since_ms == before[name].since_ms
    assert after['new'].reason == 'no evidence yet'
    assert after.due_ms == before.due_ms


def test_a_slice_of_scores_and_an_empty_bank() -> None:
    several = [Predicate(f'p{i}', (f'yes {i}',), (f'no {i}',)) for i in range(3)]
    bank = PredicateBank(several, Sentences())  # type: ignore[arg-type]
    scores = bank.weigh({'depth': bank.similarities(units(np.random.default_rng(0), 2))})
    assert [s.name for s in scores[1:]] == ['p1', 'p2']
    assert scores[-1].name == 'p2'
    with pytest.raises(IndexError):
        scores[3]
    nothing = PredicateBank([], Sentences())  # type: ignore[arg-type]
    assert list(nothing.score({'depth': units(np.random.default_rng(0), 1)})) == []
