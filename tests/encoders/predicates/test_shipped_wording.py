"""What the shipped set makes of wordings: exclusive sides, and silence about the unknown."""

from __future__ import annotations

import numpy as np
import pytest

from encoders import Binder, Predicate, PredicateBank
from encoders.predicates.fusion import Scores
from encoders.predicates.tracks import Tracks


@pytest.fixture(scope='module')
def binder() -> Binder:
    return Binder.load('lb-mini')


def scored(binder: Binder, *texts: str) -> Scores:
    predicates = [Predicate.from_sentence(text) for text in texts]
    depth_mm = np.full((480, 640), 900, np.uint16)
    depth_mm[200:, 100:400] = 600
    return PredicateBank(predicates, binder).score(binder.observe(depth=depth_mm))


@pytest.mark.parametrize(
    ('text', 'denied'),
    [
        ('the drawer is open', "the drawer isn't open"),
        ('the drawer is closed', 'the drawer is no longer closed'),
        ('the gripper is empty', 'is the gripper not empty?'),
        ('the gripper holds the mug', 'The gripper does not hold the mug.'),
        ('the lid is screwed on', 'the lid is not screwed on'),
        ('the drawer gapes', 'the drawer does not gape'),
    ],
)
def test_a_sentence_and_its_denial_are_exclusive(binder: Binder, text: str, denied: str) -> None:
    yes, no = scored(binder, text, denied)
    assert yes.fused + no.fused == pytest.approx(1.0, abs=1e-5)
    assert yes.calibrated == no.calibrated


def test_a_question_and_terse_forms_are_the_statement(binder: Binder) -> None:
    found = scored(
        binder, 'the drawer is open', 'Is the drawer open?', 'drawer open', 'Drawer open.'
    )
    assert len({score.fused for score in found}) == 1


@pytest.mark.parametrize(
    'text', ['the stock market is up', 'a red elephant flies', 'the drawer gapes']
)
def test_a_text_that_it_does_not_know_has_no_state(binder: Binder, text: str) -> None:
    scores = scored(binder, text, 'the drawer is open')
    assert not scores[0].calibrated and 'not calibrated' in scores[0].reasons
    assert scores.decides().tolist() == [False, True]
    predicates = [Predicate.from_sentence(name) for name in scores.table.names]
    states, _ = Tracks.start(predicates).updated(0.0, scores)
    states, _ = states.updated(1000.0, scores)
    assert states[text].state == 0 and 'not calibrated' in states[text].reason
    assert 'not calibrated' not in states['the drawer is open'].reason


def test_other_wordings_of_known_facts_are_calibrated(binder: Binder) -> None:
    texts = ('the drawers are open', 'the drawer is not closed', 'the gripper is not empty')
    assert all(score.calibrated for score in scored(binder, *texts))
