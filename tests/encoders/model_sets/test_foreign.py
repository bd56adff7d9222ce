"""Sensors do not vote on texts that only other sensors of the set know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from encoders import Binder, Predicate, PredicateBank
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.foreign import is_foreign
from encoders.model_sets.golden import golden_input

FELT = ('the surface is rough', 'the screw is tight', 'the peg is jammed', 'the cup is full')
SEEN = ('the drawer is open', 'the bowl is in the basket', 'the microwave is closed')
KNOWN_TO_BOTH = ('the gripper is holding something', 'an object is held by the robot')


@pytest.fixture(scope='module')
def binder() -> Binder:
    return Binder.load('lb-mini')


def asked(sentences: Sequence[str]) -> list[Predicate]:
    return [
        predicate
        for sentence in sentences
        for predicate in (
            Predicate.from_sentence(sentence),
            # A denial and the other way round are as foreign as the sentence.
            Predicate.from_sentence(sentence.replace(' is ', ' is not ')),
        )
    ]


@pytest.mark.parametrize('by_tokens', [True, False])
def test_a_camera_does_not_vote_on_what_only_the_wrench_knows(
    binder: Binder, *, by_tokens: bool
) -> None:
    found = binder.observe(depth=golden_input('depth'))['depth']
    evidence = {'depth': found if by_tokens else found.vector}
    felt = PredicateBank(asked(FELT), binder).score(evidence)
    assert not felt.decides().any()
    assert (
        PredicateBank(asked(SEEN), binder)
        .score(evidence)
        .decides()[: None if by_tokens else 2]
        .all()
    )
    assert PredicateBank(asked(KNOWN_TO_BOTH), binder).score(evidence).decides()[::2].all()


def test_what_is_felt_does_not_change_when_a_camera_is_added(binder: Binder) -> None:
    found = binder.observe(depth=golden_input('depth'), wrench=golden_input('wrench'))
    bank = PredicateBank(asked(FELT), binder)
    alone, together = bank.score({'wrench': found['wrench']}), bank.score(found)
    assert alone.calibrated[::2].all()
    np.testing.assert_array_equal(together.fused[::2], alone.fused[::2])
    assert all('depth cannot tell' in score.reasons for score in together[::2])


def test_the_wrench_does_not_vote_on_what_only_a_camera_knows(binder: Binder) -> None:
    found = binder.observe(depth=golden_input('depth'), wrench=golden_input('wrench'))
    bank = PredicateBank(asked(SEEN), binder)
    alone, together = bank.score({'depth': found['depth']}), bank.score(found)
    np.testing.assert_array_equal(together.fused, alone.fused)
    assert not bank.score({'wrench': found['wrench']}).decides().any()


def of(modality: str, facts: Sequence[Sequence[float]]) -> Calibration:
    """Facts of given positive sentences; the negative ones are exactly opposite."""
    sides = np.asarray(facts, np.float32)
    values = np.ones((len(sides), 1), np.float32)
    names = tuple(f'fact {number}' for number in range(len(sides)))
    return Calibration('s', names, (modality,), sides, values, values, values, sides, -sides)


def test_a_fact_that_both_know_is_foreign_to_neither() -> None:
    camera, wrench = of('image', [[1, 0, 0]]), of('wrench', [[0.8, 0.6, 0], [0, 0, 1]])
    near = np.array([0.8, 0.6, 0], np.float32)
    far = np.array([0.6, 0, 0.8], np.float32)
    parts = (camera, wrench)
    assert not is_foreign(camera, parts, positive=near, negative=-near)
    assert is_foreign(camera, parts, positive=far, negative=-far)
    assert is_foreign(camera, parts, positive=-far, negative=far)
    assert not is_foreign(wrench, parts, positive=far, negative=-far)
    assert not is_foreign(camera, (camera,), positive=far, negative=-far)
