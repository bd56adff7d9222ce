"""Predicates asked in other ways, and facts about things that are not in view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from tests.train.evaluation.test_which_thing import samples
from train.evaluation.asked import (
    asked_results,
    exclusive,
    group_results,
    only_visible,
    true_while_hidden,
)
from train.evaluation.evaluate import PredicateResult
from train.evaluation.reading import Asked, Readings, Way


def reading(way: Way, column: list[float], *, fit: bool = True) -> dict[Asked, Readings]:
    table = np.array(column, np.float32)[:, None]
    return {Asked('trained', way): Readings({'fused': table}, np.array([fit]))}


def test_the_opposite_of_a_predicate_is_true_when_it_is_false() -> None:
    data = samples([[1], [1], [0], [0]], ('open(drawer)',))
    readings = reading('exchanged', [-2, -1, 1, 2]) | reading('sentence', [2, -1, 1, -2])
    (turned,) = asked_results(readings, Asked('trained', 'exchanged'), data)
    (single,) = asked_results(readings, Asked('trained', 'sentence'), data)
    assert (turned.auroc, single.auroc) == (1.0, 0.75)


def test_groups_are_compared_with_the_usual_way_of_asking() -> None:
    def result(name: str, auroc: float) -> PredicateResult:
        return PredicateResult(name, 'fused', auroc, auroc, 9, 9)

    usual = [result('in(a, b)', 0.9), result('in(b, b)', 0.8), result('on(a, b)', 0.6)]
    other = [result('in(a, b)', 0.9), result('in(b, b)', 0.4), result('on(a, b)', 0.7)]
    best = dict.fromkeys(('in', 'on'), 'fused')
    found = group_results(other, best, reference=usual)
    assert list(found) == ['relations', 'in', 'on']
    assert (found['in'].median, found['in'].lowest, found['in'].below_half) == (0.65, 0.4, 1)
    assert found['in'].largest_change == pytest.approx(0.4)
    assert found['on'].largest_change == pytest.approx(0.1)
    assert group_results(usual, best)['in'].largest_change == 0.0


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5), st.floats(-0.008, 0.008))
def test_exclusive_answers_are_those_that_sum_to_one(p: list[float], off: float) -> None:
    said, denied = (list(map(logit, side)) for side in (p, [1 - one + off for one in p]))
    readings = reading('sentence', said) | reading('denial', denied)
    found = exclusive(readings, 'trained', ['open(drawer)'])
    assert found is not None
    assert found.largest == pytest.approx(abs(off), abs=1e-3)
    assert (found.predicates, found.not_calibrated, found.violated) == (1, 0, [])


def test_what_is_not_calibrated_may_contradict_itself() -> None:
    for fit, violated in ((True, ['open(drawer)']), (False, [])):
        readings = reading('sentence', [3.0], fit=fit) | reading('denial', [3.0])
        found = exclusive(readings, 'trained', ['open(drawer)'])
        assert found is not None and found.violated == violated
        assert found.not_calibrated == (not fit)
    unread = reading('sentence', [np.nan]) | reading('denial', [np.nan])
    assert exclusive(unread, 'trained', ['open(drawer)']) is not None
    unfused = {asked: replace(one, scores={}) for asked, one in unread.items()}
    assert exclusive(unfused, 'trained', ['open(drawer)']) is None


def test_facts_out_of_view_are_apart() -> None:
    data = samples([[1], [1], [0], [0], [-1]], ('in(bowl, drawer)',))
    hidden = np.array([[True], [False], [True], [False], [True]])
    assert only_visible(data, hidden).truth[:, 0].tolist() == [-1, 1, -1, 0, -1]
    assert true_while_hidden(data, hidden).truth[:, 0].tolist() == [1, -1, 0, 0, -1]
