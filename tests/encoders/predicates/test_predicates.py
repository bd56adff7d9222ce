from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import (
    Binder,
    Line,
    Predicate,
    PredicateBank,
    PredicateError,
    PredicateTracker,
    State,
    load_predicates,
)
from encoders.model_sets.calibration import Calibration
from encoders.predicates.fusion import caveats, taught_reason
from encoders.predicates.texts import text_vectors


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.mark.parametrize(
    ('sentence', 'opposite'),
    [
        ('the drawer is open', 'the drawer is closed'),
        ('the stove is off', 'the stove is on'),
        ('the stove is dirty', 'the stove is not dirty'),
        ('the drawer is not closed', 'the drawer is closed'),
        ("the stove isn't off", 'the stove is off'),
        ('nothing was dropped', 'something was dropped'),
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
    if not sentence.strip().rstrip('.!') or not sentence.strip().isprintable():
        with pytest.raises(PredicateError):
            Predicate.from_sentence(sentence)
        return
    predicate = Predicate.from_sentence(sentence)
    assert predicate.positive and predicate.negative


def test_a_refused_sentence_is_reported_before_the_name_that_it_gives() -> None:
    with pytest.raises(PredicateError, match='has control characters'):
        Predicate.from_sentence('the \x07 bell')


def test_the_contrast_points_from_no_to_yes(binder: Binder) -> None:
    predicate = Predicate('open', ('the drawer is open',), ('the drawer is closed',))
    _, contrast = text_vectors(binder, predicate)
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


def test_equal_positive_and_negative_prompts_are_refused(binder: Binder) -> None:
    with pytest.raises(PredicateError, match='same meaning'):
        PredicateBank([Predicate('odd', ('it is hot',), ('it is hot',))], binder)


def calibration_for(binder: Binder, predicate: Predicate) -> Calibration:
    _, contrast = text_vectors(binder, predicate)
    return Calibration(
        space=binder.space,
        names=(predicate.name,),
        modalities=('depth', 'audio'),
        contrasts=contrast[None],
        slopes=np.array([[20.0, 0.0]], np.float32),
        offsets=np.array([[-1.0, 0.0]], np.float32),
        weights=np.array([[1.0, 0.0]], np.float32),
    )


def test_an_uninformative_modality_does_not_vote(binder: Binder, tmp_path: Path) -> None:
    predicate = Predicate.from_sentence('the drawer is open')
    calibration_for(binder, predicate).save(tmp_path)
    stored = Calibration.load_if_present(tmp_path)
    assert stored is not None
    fit = stored.fit_for(*text_vectors(binder, predicate))
    assert fit is not None
    assert fit.similarity == pytest.approx(1, abs=1e-3)
    assert fit.weight == pytest.approx({'depth': 1.0, 'audio': 0.0})
    assert fit.slope['depth'] == pytest.approx(20, abs=1e-3)


def test_far_sentences_are_not_calibrated(binder: Binder) -> None:
    calibration = calibration_for(binder, Predicate.from_sentence('the drawer is open'))
    asked = text_vectors(binder, Predicate.from_sentence('the music is loud'))
    assert calibration.fit_for(*asked) is None


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
    listed = write(tmp_path / 'l.yaml', 'predicates: [it is hot, {name: stove_on, dwell_ms: 0}]')
    assert [(p.name, p.positive) for p in load_predicates(listed)] == [
        ('it is hot', ('it is hot',)),
        ('stove_on', ('stove on',)),
    ]
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
        ('predicates: {', 'p.yaml:1: '),
        (
            'predicates:\n  a: x\n  b:\n    threshold_on: 2',
            "p.yaml:4: .*'b': threshold_on",
        ),
        ('predicates:\n  a: {dwell_ms: .nan}', 'dwell_ms: must be 0 or more'),
        ('predicates:\n  a: {max_age_ms: fast}', 'max_age_ms: must be a number'),
        ('predicates:\n  a: {dwell_ms: true}', 'dwell_ms: must be a number'),
        ('predicates:\n  a: {templates: [x]}', 'templates: .*needs one {}'),
        ('predicates:\n  a: {weights: {smell: 1}}', "weights: unknown modality 'smell'"),
        ('predicates:\n  a: {weights: {depth: -1}}', 'weights: must be 0 or more'),
        ('predicates:\n  a: {weights: 1}', 'weights must be a mapping'),
        ('predicates:\n  a: {modalities: [depth], weights: {audio: 1}}', 'audio is none of'),
        ('predicates:\n  a: {calibration: {depth: 1}}', 'depth needs slope and offset'),
        (
            'predicates:\n  a: {calibration: {depth: {slope: 1, offset: 0}}}',
            'needs the language space',
        ),
        ('predicates:\n  a: x\n  a: y', 'p.yaml:3: .*name: is already that of line 2'),
        ('predicates: [x, x]', 'already'),
        ('sentences: [x]', "unknown key 'sentences'"),
        ('predicates:\n  a: 3', '3 is neither a sentence nor a mapping'),
        ('predicates:\n  - a\n  - positive: [b]', 'p.yaml:3: an entry with keys needs `name:`'),
        ('predicates:\n  a: {positive: 3}', 'positive must be sentences'),
    ],
)
def test_errors_of_a_file_name_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PredicateError, match=message):
        load_predicates(write(tmp_path / 'p.yaml', text))


def test_all_errors_of_a_file_are_reported_together(tmp_path: Path) -> None:
    text = 'predicates:\n  a: {positive: 3}\n  b: x\n  c: {dwell_ms: -1}\n'
    with pytest.raises(PredicateError) as told:
        load_predicates(write(tmp_path / 'p.yaml', text))
    first, second = str(told.value).splitlines()
    assert 'p.yaml:2' in first and "'a'" in first
    assert 'p.yaml:4' in second and 'dwell_ms' in second


def test_templates_multiply_sentences() -> None:
    predicate = Predicate('p', ('yes',), ('no',), templates=('{}', 'a photo: {}'))
    assert predicate.sentences == (('yes', 'a photo: yes'), ('no', 'a photo: no'))


class TestFusion:
    """Weights 1 for depth, 0 for audio; slope 20 and offset -1 for depth."""

    @pytest.fixture
    def bank(self, binder: Binder) -> PredicateBank:
        predicate = Predicate.from_sentence('the drawer is open')
        fitted = copy.copy(binder)
        fitted.calibration = calibration_for(binder, predicate)
        return PredicateBank([predicate], fitted)

    def contrast(self, binder: Binder) -> np.ndarray:
        return text_vectors(binder, Predicate.from_sentence('the drawer is open'))[1]

    def test_a_blind_modality_is_named_and_cannot_tell_alone(
        self, bank: PredicateBank, binder: Binder
    ) -> None:
        z = self.contrast(binder)
        both = bank.score({'depth': z, 'audio': z})[0]
        assert both.fused == pytest.approx(both.probability['depth'], abs=1e-5)
        assert both.can_tell
        assert 'audio cannot tell' in both.reasons
        said = caveats(both.probability, calibrated=both.calibrated, reasons=both.reasons)
        assert said == {'audio': 'no vote'}
        assert not bank.score({'audio': z})[0].can_tell

    def test_evidence_fades_and_then_is_stale(self, bank: PredicateBank, binder: Binder) -> None:
        z = {'depth': self.contrast(binder)}
        ages = (0.0, 500.0, 750.0, 1000.0, 1000.1)
        scores = [bank.score(z, ages_ms={'depth': age})[0] for age in ages]
        fused = [score.fused for score in scores]
        assert fused[0] == fused[1] > fused[2] > fused[3] >= 0.5
        assert [score.can_tell for score in scores] == [True] * 4 + [False]
        late = bank.score(z, ages_ms={'depth': 1800.0})[0]
        assert 'depth stale 1.8 s' in late.reasons
        assert late.probability == {}

    def test_sensors_of_a_modality_are_averaged_and_old_ones_left_out(
        self, bank: PredicateBank, binder: Binder
    ) -> None:
        yes = self.contrast(binder)
        pair = {'depth': np.stack([yes, -yes])}
        even = bank.score(pair, ages_ms={'depth': [0.0, 0.0]})[0]
        assert even.similarity['depth'] == pytest.approx(0.0, abs=1e-6)
        one = bank.score(pair, ages_ms={'depth': [0.0, 2000.0]})[0]
        assert one.similarity['depth'] == pytest.approx(1.0, abs=1e-4)

    def test_own_weights_and_calibration_come_first(self, binder: Binder) -> None:
        own = Predicate(
            'own',
            ('the drawer is open',),
            ('the drawer is closed',),
            calibration={'audio': Line(2.0, 0.5)},
            calibration_space=binder.space,
            weights={'depth': 0.0},
        )
        bank = PredicateBank([own, replace(own, name='alien', calibration_space='x')], binder)
        z = self.contrast(binder)
        found, alien = bank.score({'audio': z, 'depth': z})
        expected = 1 / (1 + np.exp(-(2.0 * found.similarity['audio'] + 0.5)))
        assert found.probability['audio'] == pytest.approx(expected, abs=1e-5)
        assert found.fused == pytest.approx(expected, abs=1e-5)
        assert found.calibrated and not alien.calibrated
        assert any('another space' in reason for reason in alien.reasons)
        said = caveats(alien.probability, calibrated=alien.calibrated, reasons=alien.reasons)
        assert said == {'fused': 'not calibrated', 'depth': 'no vote'}


def test_a_thousand_predicates_are_added_all_or_none(binder: Binder) -> None:
    bank = PredicateBank([Predicate.from_sentence('it is hot')], binder)
    many = [Predicate.from_sentence(f'it is {n} degrees hot') for n in range(20)]
    refused = bank.try_extend([*many, Predicate('odd', ('x',), ('x',))])
    assert set(refused) == {'odd'}
    assert len(bank.predicates) == 1
    other = bank.copy()
    other.extend(many)
    assert (len(bank.predicates), len(other.predicates)) == (1, 21)


def test_the_shipped_predicates_load() -> None:
    root = Path(__file__).resolve().parents[3]
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


@pytest.mark.parametrize(
    ('reasons', 'told'),
    [
        (('audio cannot tell', 'not calibrated'), ''),
        (('depth silent', 'taught (7 true, 6 false, 0.93 left out)'),
         'taught (7 true, 6 false, 0.93 left out)'),
        (('not calibrated; taught (3 true, 0 false): needs both',),
         'taught (3 true, 0 false): needs both'),
        (('2 words unknown; taught (1 true, 1 false); unlike its presses',),
         'taught (1 true, 1 false); unlike its presses'),
    ],
)  # fmt: skip
def test_what_reasons_say_about_teaching(reasons: tuple[str, ...], told: str) -> None:
    assert taught_reason(reasons) == told
