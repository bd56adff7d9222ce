"""Predicates that are asked of a part of a view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders import Binder, Evidence, Predicate, PredicateBank, PredicateError
from encoders.predicates.lessons import Lesson, press_of
from encoders.predicates.predicate import Line
from encoders.predicates.scoring import Scoring
from tests.readouts import copy_with_readouts, some_calibration

PART = 'depth@gripper'
SENTENCES = (('the top drawer is open',), ('the top drawer is closed',))
WHOLE = Predicate('whole', *SENTENCES)
OF_PART = Predicate('part', *SENTENCES, modalities=(PART,))
OF_DEPTH = Predicate('depth', *SENTENCES, modalities=('depth',))


@pytest.fixture(scope='module')
def binder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binder]:
    target = tmp_path_factory.mktemp('set') / 'with_readouts'
    binder = Binder.load(copy_with_readouts(tiny_model_set, target, modalities=['depth']))
    names = ('open(top drawer)', 'hot(stove)')
    binder.readout_calibration = some_calibration(binder, names, modalities=['depth'])
    binder.calibration = some_calibration(binder, names, modalities=['depth', 'image'])
    yield binder


@pytest.fixture(scope='module')
def evidence(binder: Binder) -> Evidence:
    depth = np.random.default_rng(3).integers(400, 2000, (48, 64), dtype=np.uint16)
    found = binder.observe(depth=depth)['depth']
    assert isinstance(found, Evidence)
    return found


def bank(binder: Binder, *predicates: Predicate) -> PredicateBank:
    return PredicateBank(predicates, binder, regions=[PART])


def test_only_predicates_that_name_a_part_use_it(binder: Binder, evidence: Evidence) -> None:
    scores = bank(binder, WHOLE, OF_PART, OF_DEPTH).score({PART: evidence})
    heard = {score.name: list(score.probability) for score in scores}
    assert heard == {'whole': [], 'part': [PART], 'depth': []}


def test_a_part_is_read_as_its_modality_and_says_where_its_calibration_is_from(
    binder: Binder, evidence: Evidence
) -> None:
    part, whole = bank(binder, OF_PART, OF_DEPTH).score({PART: evidence, 'depth': evidence})
    assert part.probability[PART] == whole.probability['depth'] != 0.5
    assert part.similarity[PART] == whole.similarity['depth']
    assert (part.fused, part.calibrated) == (whole.fused, whole.calibrated)
    assert f'{PART} calibrated on whole images' in part.reasons
    assert not any('whole images' in reason for reason in whole.reasons)
    vector = bank(binder, OF_PART).score({PART: Evidence(evidence.vector)})[0]
    assert f'{PART} read from the vector' in vector.reasons
    assert vector.probability[PART] != part.probability[PART]


def test_regions_change_nothing_for_predicates_that_do_not_name_them(
    binder: Binder, evidence: Evidence
) -> None:
    plain = PredicateBank([WHOLE, OF_DEPTH], binder).score({'depth': evidence})
    found = bank(binder, WHOLE, OF_DEPTH, OF_PART).score({'depth': evidence, PART: evidence})
    assert [plain[0], plain[1]] == [found[0], found[1]]


def test_a_predicate_may_use_a_part_and_a_whole_view_with_its_own_weights(
    binder: Binder, evidence: Evidence
) -> None:
    both = Predicate('both', *SENTENCES, modalities=('depth', PART), weights={PART: 0.0})
    (score,) = bank(binder, both).score({'depth': evidence, PART: evidence})
    (alone,) = bank(binder, OF_DEPTH).score({'depth': evidence})
    assert set(score.probability) == {'depth', PART}
    assert score.fused == pytest.approx(alone.fused)
    assert f'{PART} cannot tell' in score.reasons


def test_a_calibration_of_the_part_itself_replaces_that_of_whole_images(
    binder: Binder, evidence: Evidence
) -> None:
    own = Predicate(
        'own',
        *SENTENCES,
        modalities=(PART,),
        calibration={PART: Line(2.0, 0.5)},
        calibration_space=binder.space,
    )
    (score,) = bank(binder, own).score({PART: evidence})
    odds = 2.0 * bank(binder, own).read(PART, evidence)[0][1, 0] + 0.5
    assert score.probability[PART] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)
    assert not any('whole images' in reason for reason in score.reasons)


def test_an_unknown_region_is_an_error_that_says_where_to_declare_it(binder: Binder) -> None:
    message = r"predicate 'part': modalities: unknown region 'depth@gripper' \(there are none\)"
    with pytest.raises(PredicateError, match=message):
        PredicateBank([OF_PART], binder)
    with pytest.raises(PredicateError, match=r'known: depth@gripper.*parameter regions'):
        bank(binder, Predicate('x', *SENTENCES, modalities=('depth@griper',)))
    with pytest.raises(PredicateError, match="unknown modality 'audio@left'"):
        Predicate('x', *SENTENCES, modalities=('audio@left',))
    with pytest.raises(KeyError, match='touch@pad'):
        PredicateBank([], binder, regions=['touch@pad'])


def test_regions_survive_copies_of_a_bank(binder: Binder, evidence: Evidence) -> None:
    for copy in (bank(binder, OF_PART).copy(), bank(binder).emptied()):
        copy.add(OF_PART)
        assert list(copy.score({PART: evidence})[0].probability) == [PART]


def test_scoring_follows_a_part_like_a_sensor(binder: Binder, evidence: Evidence) -> None:
    scoring = Scoring(bank(binder, OF_PART))
    scoring.receive(
        PART, evidence.vector, stamp_ns=10**9, space=binder.space, tokens=evidence.tokens
    )
    evaluation = scoring.evaluate(10**9)
    (expected,) = bank(binder, OF_PART).score({PART: evidence})
    assert evaluation.scores[0].probability == expected.probability
    assert evaluation.ages_ms == {PART: 0.0}
    scoring.receive(
        PART,
        evidence.vector,
        stamp_ns=2 * 10**9,
        space=binder.space,
        tokens=evidence.tokens,
        invalid_reason='no valid pixel',
    )
    score = scoring.evaluate(2 * 10**9).scores[0]
    assert f'{PART}: no valid pixel' in score.reasons and not score.can_tell


def test_a_predicate_of_a_part_is_taught_like_others(binder: Binder, evidence: Evidence) -> None:
    taught = bank(binder, OF_PART)
    other = Evidence(-evidence.vector, evidence.tokens)
    lesson = Lesson(OF_PART)
    for truth, seen in ((True, evidence), (False, other)):
        for stamp_ns in range(3):
            frame = taught.frame('part', {PART: [seen]})
            assert list(frame.vectors) == list(frame.states) == [PART]
            lesson = lesson.adding(press_of([frame], truth=truth, stamp_ns=stamp_ns))
    taught.teach(lesson)
    assert list(taught.taught['part'].sensors) == [PART]
    yes, no = (taught.score({PART: seen})[0].fused for seen in (evidence, other))
    assert yes > 0.5 > no
