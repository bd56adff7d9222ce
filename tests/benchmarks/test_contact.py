"""The contact benchmark asks a predicate where it changes, and where its thing is absent."""

from __future__ import annotations

import numpy as np

from benchmarks.contact import areas_of, best_sensors, places_of
from train.bags.load import LoadReport
from train.bags.samples import Samples
from train.evaluation.reading import Asked, ReadBags, Readings

PREDICATES = ('inserted(peg)', 'jammed(peg)', 'rough(surface)')
# Bags: rubbing, insertion, insertion; two moments each.
TRUTH = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [1, 0, 0]], np.int8)
SAMPLES = Samples(
    inputs={},
    truth=TRUTH,
    predicates=PREDICATES,
    bag=np.repeat(np.arange(3), 2),
    times_s=np.zeros(6),
    bags=('a', 'b', 'c'),
    regions=np.zeros((6, 1, 1), np.uint8),
    region_names=(),
    scenes=('rubbing', 'insertion', 'insertion'),
)


def test_a_predicate_is_asked_where_it_changes_and_where_its_thing_is_absent() -> None:
    inserted, jammed, rough = (places_of(SAMPLES, column) for column in range(3))
    assert inserted.own.tolist() == [False, False, True, True, True, True]
    assert inserted.absent.tolist() == [True, True, True, False, False, True]
    assert jammed.own.tolist() == [False, False, True, True, False, True]
    assert rough.absent.tolist() == [True, False, True, True, True, True]


def test_areas_are_those_of_each_sensor() -> None:
    right = TRUTH.astype(np.float32)
    scores = {'wrench': right, 'image': -right, 'imu': np.full_like(right, np.nan)}
    readings = {Asked('trained', 'sides'): Readings(scores, np.ones(3, bool))}
    report = LoadReport(3, 6, ())
    tables = areas_of(ReadBags(SAMPLES, TRUTH < 0, readings, report), 'trained')
    assert tables['own']['inserted'] == {'wrench': 1.0, 'image': 0.0, 'imu': None}
    assert tables['own']['jammed against inserted']['wrench'] == 1.0
    assert tables['absent']['rough']['image'] == 0.0
    assert best_sensors(tables['own'])['inserted'] == 'wrench'
