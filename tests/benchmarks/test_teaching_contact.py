"""A felt fact is taught to sets that were trained without it, where it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.contact import PREDICATES
from benchmarks.contact_ablations import RECIPE, start_without_series
from benchmarks.teaching import Draw, area
from benchmarks.teaching_contact import (
    TRAININGS,
    medians,
    rows_of,
    where_it_changes,
    without,
)
from encoders.model_sets.manifest import read_manifest
from encoders.preprocess import is_series
from train.bags.samples import Samples
from train.evaluation.calibration_error import Predictions
from train.phrasings import Phrasings, relation_of
from train.training.recipe import load_recipe

NAMES = ('contact(gripper, something)', 'holding(cup)', 'inserted(peg)', 'jammed(peg)')
# Bags: filling, insertion, insertion; two moments each.
TRUTH = np.array(
    [[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [1, 0, 1, -1], [1, 0, 0, 0]], np.int8
)
SAMPLES = Samples(
    inputs={'wrench': np.array([1, 1, 1, 0, 0, 1.0])[:, None], 'joints': np.eye(6)[:, 4:5]},
    truth=TRUTH,
    predicates=NAMES,
    bag=np.repeat(np.arange(3), 2),
    times_s=np.arange(6.0),
    bags=('a', 'b', 'c'),
    regions=np.zeros((6, 1, 1), np.uint8),
    region_names=(),
    scenes=('filling', 'insertion', 'insertion'),
)


def test_facts_that_show_a_predicate_are_left_out_with_it() -> None:
    pegs = without(SAMPLES, TRAININGS['pegs'])
    assert pegs.predicates == NAMES[:2]
    np.testing.assert_array_equal(pegs.truth, TRUTH[:, :2])
    assert without(SAMPLES, TRAININGS['grasps']).predicates == NAMES[2:]
    assert without(SAMPLES, TRAININGS['cups']).predicates == NAMES


@pytest.mark.parametrize('name', TRAININGS)
def test_a_training_leaves_out_what_is_taught_and_knows_its_relations(name: str) -> None:
    left_out = TRAININGS[name]
    assert {relation_of(PREDICATES[short]) for short in left_out.asked} <= {*left_out.relations}
    known = Phrasings.load('trained').relations
    assert {each.removesuffix(' something') for each in left_out.relations} <= {*known}


def test_a_predicate_is_asked_where_it_changes_and_something_is_felt() -> None:
    asked = where_it_changes(SAMPLES, 'inserted(peg)')
    assert asked.predicates == ('inserted(peg)',)
    assert asked.truth[:, 0].tolist() == [1, 1, 0]
    assert asked.times_s.tolist() == [2, 4, 5]
    assert asked.bag.tolist() == [0, 1, 1]
    assert (asked.bags, asked.scenes) == (('b', 'c'), ('insertion', 'insertion'))


def test_trainings_start_without_encoders_that_know_the_facts(tmp_path: Path) -> None:
    start = start_without_series(load_recipe(RECIPE), tmp_path)
    specs = read_manifest(start).manifest.modalities
    assert 'image' in specs
    assert not any(is_series(spec.preprocess) for spec in specs.values())


def test_a_reversed_score_has_no_area() -> None:
    assert area(np.array([True, False]), np.array([-1, 1], np.float32)) == 0.0


def test_rows_hold_means_and_medians_of_the_draws() -> None:
    nothing = Predictions(np.full(2, 0.5), np.array([True, False]))

    def draw(taught: float) -> Draw:
        same = (0.5, 0.5)
        return Draw('', 10, (0.5, taught), same, same, (nothing, nothing), np.nan, 0.0, 1.0)

    rows = rows_of([draw(0.6), draw(0.9), draw(0.9)])
    assert (rows['10']['auroc'], rows['10']['auroc_median']) == (0.8, 0.9)
    others = {'a': rows, 'b': rows_of([draw(0.7)]), 'c': rows_of([draw(0.1)])}
    assert medians(others)['10']['auroc'] == 0.7
