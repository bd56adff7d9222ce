from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import (
    Binder,
    Predicate,
    PredicateBank,
    PredicateError,
    PredicateTracker,
    State,
    load_predicates,
)
from encoders.bank import text_contrast
from encoders.calibration import Calibration


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.mark.parametrize(
    ('sentence', 'opposite'),
    [
        ('the drawer is open', 'the drawer is closed'),
        ('the stove is off', 'the stove is on'),
        ('the stove is hot', 'the stove is not hot'),
        ('the gripper holds the cup', 'the gripper does not hold the cup'),
        ('rain falls', 'it is not true that rain falls'),
    ],
)
def test_a_sentence_brings_its_opposite(sentence: str, opposite: str) -> None:
    predicate = Predicate.from_sentence(sentence)
    assert opposite in predicate.negative
    assert sentence not in predicate.negative


@given(st.text(max_size=60))
def test_any_sentence_is_a_predicate_or_an_error(sentence: str) -> None:
    if not sentence.strip().rstrip('.!'):
        with pytest.raises(PredicateError):
            Predicate.from_sentence(sentence)
        return
    predicate = Predicate.from_sentence(sentence)
    assert predicate.positive and predicate.negative


def test_the_contrast_points_from_no_to_yes(binder: Binder) -> None:
    predicate = Predicate('open', ('the drawer is open',), ('the drawer is closed',))
    contrast = text_contrast(binder, predicate)
    yes, no = binder.embed_text(['the drawer is open', 'the drawer is closed'])
    assert yes @ contrast > 0 > no @ contrast


def test_scores_have_every_modality_asked(binder: Binder) -> None:
    bank = PredicateBank(
        [
            Predicate.from_sentence('the drawer is open'),
            Predicate('hot', ('it is hot',), ('it is cold',), modalities=('infrared',)),
        ],
        binder,
    )
    vector = np.eye(384, dtype=np.float32)[0]
    first, second = bank.score({'depth': vector, 'infrared': vector[None]})
    assert set(first.probability) == {'depth', 'infrared'}
    assert set(second.probability) == {'infrared'}
    assert not first.calibrated
    assert all(0 < p < 1 for p in first.probability.values())


def test_without_evidence_nothing_is_claimed(binder: Binder) -> None:
    bank = PredicateBank([Predicate.from_sentence('the drawer is open')], binder)
    (score,) = bank.score({})
    assert score.probability == {}
    assert score.fused == 0.5


def test_names_are_unique_and_removal_is_checked(binder: Binder) -> None:
    one = Predicate.from_sentence('it is hot', name='hot')
    with pytest.raises(PredicateError, match="two predicates are named 'hot'"):
        PredicateBank([one, one], binder)
    bank = PredicateBank([one], binder)
    bank.remove('hot')
    assert bank.predicates == ()
    with pytest.raises(KeyError, match='hot'):
        bank.remove('hot')


def test_equal_meanings_cannot_be_told_apart(binder: Binder) -> None:
    with pytest.raises(PredicateError, match='same meaning'):
        PredicateBank([Predicate('odd', ('it is hot',), ('it is hot',))], binder)


def calibration_for(binder: Binder, predicate: Predicate) -> Calibration:
    contrast = text_contrast(binder, predicate)
    return Calibration(
        space=binder.space,
        names=(predicate.name,),
        modalities=('depth', 'audio'),
        contrasts=contrast[None],
        slopes=np.array([[20.0, 0.0]], np.float32),
        offsets=np.array([[-1.0, 0.0]], np.float32),
        weights=np.array([[1.0, 0.0]], np.float32),
    )


def test_a_modality_that_cannot_tell_does_not_vote(binder: Binder, tmp_path: Path) -> None:
    predicate = Predicate.from_sentence('the drawer is open')
    calibration_for(binder, predicate).save(tmp_path)
    stored = Calibration.load_if_present(tmp_path)
    assert stored is not None
    fit = stored.fit_for(text_contrast(binder, predicate))
    assert fit is not None
    assert fit.similarity == pytest.approx(1, abs=1e-3)
    assert fit.weight == pytest.approx({'depth': 1.0, 'audio': 0.0})
    assert fit.slope['depth'] == pytest.approx(20, abs=1e-3)


def test_far_sentences_are_not_calibrated(binder: Binder) -> None:
    calibration = calibration_for(binder, Predicate.from_sentence('the drawer is open'))
    contrast = text_contrast(binder, Predicate.from_sentence('the music is loud'))
    assert calibration.fit_for(contrast) is None


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_predicates_are_read_from_yaml(tmp_path: Path) -> None:
    path = write(
        tmp_path / 'p.yaml',
        'predicates:\n'
        '  the drawer is open:\n'
        '  hot: the stove is hot\n'
        '  held:\n    positive: [it is held]\n    dwell_ms: 500\n    modalities: [depth]\n',
    )
    first, second, third = load_predicates(path)
    assert first.positive == ('the drawer is open',)
    assert second.positive == ('the stove is hot',)
    assert (third.dwell_ms, third.modalities) == (500, ('depth',))
    assert 'it is not held' in third.negative


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('predicates: []', 'needs a mapping'),
        ('predicates:\n  a: {positiv: [x]}', "unknown key 'positiv'"),
        ('predicates:\n  a: {positive: [x], modalities: [smell]}', "unknown modality 'smell'"),
        ('predicates:\n  a: {threshold_on: 0.2}', 'thresholds'),
        ('predicates:\n  a: {positive: []}', 'non-empty'),
        ('predicates: {', 'p.yaml'),
        ('predicates:\n  a: 3', '3 is neither a sentence nor a mapping'),
        ('predicates:\n  a: {positive: 3}', 'positive must be sentences'),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PredicateError, match=message):
        load_predicates(write(tmp_path / 'p.yaml', text))


def test_the_shipped_predicates_load() -> None:
    root = Path(__file__).resolve().parents[2]
    assert len(load_predicates(root / 'config' / 'predicates.yaml')) >= 5


class TestTracker:
    predicate = Predicate('p', ('yes',), ('no',), dwell_ms=100.0, max_age_ms=500.0)

    def test_a_state_needs_its_dwell_time(self) -> None:
        tracker = PredicateTracker(self.predicate)
        assert tracker.update(0, probability=0.9).state is State.UNKNOWN
        assert tracker.update(99, probability=0.9).state is State.UNKNOWN
        assert tracker.update(100, probability=0.9).state is State.TRUE

    def test_a_flicker_changes_nothing(self) -> None:
        tracker = PredicateTracker(self.predicate)
        for now_ms in (0, 100):
            tracker.update(now_ms, probability=0.9)
        tracker.update(150, probability=0.1)
        tracker.update(200, probability=0.9)
        assert tracker.update(260, probability=0.1).state is State.TRUE

    def test_between_the_thresholds_the_state_stays(self) -> None:
        tracker = PredicateTracker(self.predicate)
        for now_ms in (0, 100):
            tracker.update(now_ms, probability=0.9)
        for now_ms in range(200, 1000, 100):
            assert tracker.update(now_ms, probability=0.5).state is State.TRUE

    def test_old_evidence_is_no_evidence(self) -> None:
        tracker = PredicateTracker(self.predicate)
        for now_ms in (0, 100):
            tracker.update(now_ms, probability=0.9)
        found = tracker.update(700, probability=0.9, evidence_ms=100)
        assert found.state is State.UNKNOWN
        assert '600 ms old' in found.reason
        assert tracker.update(800, probability=None).state is State.UNKNOWN

    @given(st.lists(st.floats(0, 1), max_size=40))
    def test_a_true_state_was_earned(self, probabilities: list[float]) -> None:
        tracker = PredicateTracker(self.predicate)
        for index, probability in enumerate(probabilities):
            found = tracker.update(index * 60.0, probability=probability)
            if found.state is State.TRUE:
                assert max(probabilities[: index + 1]) >= self.predicate.threshold_on
