"""What the shipped set makes of sentences about what is felt."""

from __future__ import annotations

import pytest

from encoders import Binder, Predicate, PredicateBank
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.golden import golden_input
from encoders.model_sets.places import find_set
from encoders.predicates.file import load_predicates
from encoders.predicates.parameters import MIN_WEIGHT
from encoders.shipped import shipped
from train.evaluation.report import chosen

LARGEST_MB = 30.0
FELT = ('wrench', 'joints', 'imu')


@pytest.fixture(scope='module')
def binder() -> Binder:
    return Binder.load('lb-mini', modalities=['image', *FELT])


def test_the_shipped_set_has_series_and_is_small() -> None:
    size = sum(file.stat().st_size for file in find_set('lb-mini').iterdir())
    assert size < LARGEST_MB * 1e6


def test_every_shipped_contact_predicate_is_read_by_a_sensor_that_feels(binder: Binder) -> None:
    bank = PredicateBank(load_predicates(shipped('config/predicates_contact.yaml')), binder)
    assert bank.table.calibrated.all()
    for place, name in enumerate(bank.table.names):
        felt = [bank.table.columns[sensor].weight[place] for sensor in FELT]
        assert max(felt) > MIN_WEIGHT, name


def test_sensors_that_feel_have_no_state_for_what_they_do_not_know(binder: Binder) -> None:
    sentences = ('the stock market is up', 'a red elephant flies', 'the drawer is open')
    bank = PredicateBank([Predicate.from_sentence(text) for text in sentences], binder)
    scores = bank.score(binder.observe(wrench=golden_input('wrench'), imu=golden_input('imu')))
    assert not scores.decides().any()
    assert not scores[0].calibrated and not scores[1].calibrated


def test_reports_choose_a_sensor_that_was_calibrated_for_a_relation() -> None:
    calibration = Calibration.load_if_present(find_set('lb-mini'))
    assert calibration is not None and len(calibration.parts) == 2
    best = chosen(calibration)
    assert best['inserted'] in FELT and best['rough'] in FELT
    assert best['open'] not in FELT
