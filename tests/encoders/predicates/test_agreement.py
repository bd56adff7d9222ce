"""Wordings that the text tower places on the wrong side are never answered as calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from encoders import Binder, Predicate, PredicateBank
from encoders.predicates.predicate import deny, is_negated
from encoders.predicates.texts import text_vectors

# On the bundled bag each of these was answered the wrong way round, with high confidence.
REVERSED = """
the drawers are open; all drawers are open; the drawer is not closed; the drawer isn't closed
the drawer is no longer closed; the drawer is not fully closed; drawers are not closed
it is not true that the drawer is closed; the drawer is pushed in; the drawer is not pulled out
the stove is not off; the stove isn't off; the stove is not switched off
the cooker is switched on; the burner is switched on; the stove is not cold; the stove isn't cold
the stove is no longer cold; the gripper is not empty; the gripper is full; the hand is not empty
things were dropped; the drawer was not shut; something is not resting on the table
"""
RIGHT = """
the drawer is open; the drawer is closed; the drawer is shut; the drawer is not open
the stove is on; the stove is off; the stove is turned on; the stove is switched off
the stove is not on; the stove is hot; the stove is cold; the stove is not hot
the gripper is holding something; the gripper is empty; nothing was dropped; something is lifted
"""


def listed(text: str) -> list[str]:
    return [part.strip() for line in text.splitlines() for part in line.split(';') if part.strip()]


@pytest.fixture(scope='module')
def binder() -> Binder:
    return Binder.load('lb-mini', modalities=['depth', 'infrared'])


def is_calibrated(binder: Binder, predicate: Predicate) -> bool:
    return bool(PredicateBank([predicate], binder).table.calibrated[0])


@pytest.mark.parametrize('sentence', listed(REVERSED))
def test_a_reversed_wording_is_not_calibrated_and_keeps_its_own_contrast(
    sentence: str, binder: Binder
) -> None:
    predicate = Predicate.from_sentence(sentence)
    bank = PredicateBank([predicate], binder)
    assert not bank.table.calibrated[0]
    contrast = text_vectors(binder, predicate)[1]
    own, smoothed = bank.similarities(contrast)[0, :, 0]
    assert own == pytest.approx(smoothed) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize('sentence', listed(RIGHT))
def test_a_plain_wording_stays_calibrated(sentence: str, binder: Binder) -> None:
    assert is_calibrated(binder, Predicate.from_sentence(sentence))


@pytest.mark.parametrize(
    ('positive', 'negative'),
    [
        ('the drawers are open', 'the drawers are closed'),
        ('the gripper is not empty', 'the gripper is empty'),
        ('the stove is not off', 'the stove is off'),
        ('the cooker is switched on', 'the cooker is switched off'),
        ('the hand is full', 'the hand is empty'),
    ],
)
def test_given_negatives_are_judged_as_derived_ones(
    positive: str, negative: str, binder: Binder
) -> None:
    assert not is_calibrated(binder, Predicate('it', (positive,), (negative,)))


def test_an_own_calibration_counts_whatever_the_wording(binder: Binder) -> None:
    from encoders import Line

    lines = {'depth': Line(10.0, 0.0)}
    predicate = Predicate(
        'it',
        ('the drawers are open',),
        ('the drawers are closed',),
        calibration=lines,
        calibration_space=binder.space,
    )
    assert is_calibrated(binder, predicate)


def test_both_sides_of_a_score_are_told_apart(binder: Binder) -> None:
    predicate = Predicate.from_sentence('the drawers are open')
    (score,) = PredicateBank([predicate], binder).score(
        {'depth': np.asarray(text_vectors(binder, predicate)[1])}
    )
    assert not score.calibrated
    assert 'not calibrated' in score.reasons


@pytest.mark.parametrize('sentence', ['the cup is dirty', 'rain falls', 'it has rained'])
def test_what_is_denied_is_negated(sentence: str) -> None:
    assert is_negated(deny(sentence))
    assert not is_negated(sentence)
