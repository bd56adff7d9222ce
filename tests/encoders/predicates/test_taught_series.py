"""Predicates taught on series: presses keep the statistics of their windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders import Binder, Evidence, Predicate, PredicateBank
from encoders.decode.series import WRENCH, Series
from encoders.predicates.lessons import Lesson, Press, press_of
from encoders.predicates.scoring import Scoring
from encoders.predicates.taught_file import from_bytes, to_bytes
from tests.series_sets import write_series_set

TIGHT = Predicate.from_sentence('the screw is tight', name='tight')
TIMES_S = np.arange(0.0, 2.5, 0.01)
S = 1_000_000_000


@pytest.fixture(scope='module')
def binder(tmp_path_factory: pytest.TempPathFactory) -> Binder:
    return Binder.load(write_series_set(tmp_path_factory.mktemp('felt') / 'set'))


def felt(binder: Binder, *, is_tight: bool, seed: int) -> Evidence:
    """A wrench whose torque settles at a higher value if the screw is tight."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.2, (len(TIMES_S), 6))
    values[:, 5] += np.clip(TIMES_S - 1.0, 0, None) * (0.3 if is_tight else 0.05)
    evidence = binder.observe(wrench=Series(values, TIMES_S, WRENCH, baseline=np.zeros(6)))[
        'wrench'
    ]
    assert isinstance(evidence, Evidence)
    return evidence


def press(bank: PredicateBank, *, truth: bool, seed: int) -> Press:
    evidence = felt(bank.binder, is_tight=truth, seed=seed)
    return press_of([bank.frame('tight', {'wrench': [evidence]})], truth=truth, stamp_ns=seed)


@pytest.fixture(scope='module')
def bank(binder: Binder) -> PredicateBank:
    taught = PredicateBank([TIGHT], binder)
    made = [press(taught, truth=n % 2 == 0, seed=n) for n in range(20)]
    taught.teach(Lesson(TIGHT, tuple(made)))
    return taught


def right(bank: PredicateBank, *, keep: bool = True) -> float:
    """Share of moments that are read as they are."""
    found = []
    for seed in range(100, 130):
        evidence = felt(bank.binder, is_tight=seed % 2 == 0, seed=seed)
        if not keep:
            evidence = replace(evidence, statistics=None)
        found.append((bank.score({'wrench': evidence})[0].fused > 0.5) == (seed % 2 == 0))
    return float(np.mean(found))


def test_a_few_presses_find_what_an_untrained_vector_does_not_show(bank: PredicateBank) -> None:
    lesson = bank.lessons.by_name['tight']
    blind = PredicateBank([TIGHT], bank.binder)
    blind.teach(Lesson(TIGHT, tuple(replace(p, statistics={}) for p in lesson.presses)))
    assert right(bank) >= 0.9
    assert right(bank) > right(blind)


def test_evidence_without_statistics_is_read_from_the_text(bank: PredicateBank) -> None:
    evidence = replace(felt(bank.binder, is_tight=True, seed=50), statistics=None)
    text = PredicateBank([TIGHT], bank.binder).score({'wrench': evidence})[0]
    assert bank.score({'wrench': evidence})[0].fused == text.fused


def test_a_sensor_that_no_press_has_may_have_more_channels(bank: PredicateBank) -> None:
    channels = bank.binder.preprocessing['joints'].channels
    values = np.random.default_rng(0).normal(size=(len(TIMES_S), len(channels)))
    moved = bank.binder.observe(joints=Series(values, TIMES_S, channels))['joints']
    wrench = felt(bank.binder, is_tight=True, seed=50)
    assert isinstance(moved, Evidence)
    assert moved.statistics is not None and wrench.statistics is not None
    assert len(moved.statistics) > len(wrench.statistics)
    assert bank.score({'wrench': wrench, 'joints': moved})[0].fused > 0.5


def test_a_file_keeps_them(bank: PredicateBank) -> None:
    again = from_bytes(to_bytes(bank.lessons), where='here').by_name['tight']
    for one, other in zip(bank.lessons.by_name['tight'].presses, again.presses, strict=True):
        np.testing.assert_array_equal(one.statistics['wrench'], other.statistics['wrench'])


def test_live_evidence_is_read_as_in_a_bag(bank: PredicateBank) -> None:
    scoring = Scoring(bank)
    evidence = felt(bank.binder, is_tight=True, seed=60)
    scoring.receive(
        'wrench', evidence.vector, stamp_ns=S, space=bank.space, statistics=evidence.statistics
    )
    expected = bank.score({'wrench': evidence})[0].fused
    assert scoring.evaluate(S).scores[0].fused == pytest.approx(expected, abs=1e-6)
