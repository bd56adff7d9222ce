"""Measuring how well predicates are read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from train.bags.samples import Samples
from train.evaluation.evaluate import (
    PredicateResult,
    best_modalities,
    group_medians,
    group_of,
    results_of,
)


def samples(truth: list[list[int]], predicates: tuple[str, ...]) -> Samples:
    count = len(truth)
    return Samples(
        inputs={},
        truth=np.array(truth, np.int8),
        predicates=predicates,
        bag=np.zeros(count, np.int64),
        times_s=np.arange(count, dtype=float),
        bags=('one',),
        regions=np.zeros((count, 64, 64), np.uint8),
        region_names=(),
    )


def table(*columns: list[float]) -> NDArray[np.float32]:
    return np.array(columns, np.float32).T


def result(name: str, modality: str, auroc: float, *, count: int = 9) -> PredicateResult:
    return PredicateResult(name, modality, auroc, auroc, count, count)


def test_auroc_counts_pairs_in_the_right_order_and_skips_the_unknown() -> None:
    data = samples([[1], [0], [1], [0], [-1]], ('open(drawer)',))
    scores = {'depth': table([0.9, 0.1, 0.4, 0.6, 5.0])}
    (found,) = results_of(scores, data)
    # Of the four pairs of a true and a false moment, only (0.4, 0.6) is in the wrong order.
    assert found.auroc == pytest.approx(3 / 4)
    # Precision is 1/1 at the first true moment and 2/3 at the second.
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (found.positives, found.negatives) == (2, 2)


def test_predicates_of_one_truth_are_left_out() -> None:
    data = samples([[1, 1], [1, 0], [-1, 0]], ('hot(stove)', 'open(drawer)'))
    found = results_of({'depth': table([0.1, 0.2, 0.3], [0.9, 0.1, 0.2])}, data)
    assert [r.name for r in found] == ['open(drawer)']


def test_samples_that_a_sensor_did_not_read_do_not_count() -> None:
    data = samples([[1], [0], [1], [0]], ('open(drawer)',))
    scores = {'depth': table([0.9, 0.1, 0.4, 0.6]), 'audio': table([np.nan, 0.1, 0.4, 0.6])}
    depth, audio = results_of(scores, data)
    assert (depth.positives, depth.auroc) == (2, pytest.approx(3 / 4))
    assert (audio.positives, audio.auroc) == (1, pytest.approx(1 / 2))
    nothing = {'depth': table([np.nan] * 4)}
    assert results_of(nothing, data) == []


def test_predicates_are_grouped_by_relation() -> None:
    assert group_of('open(top drawer)') == 'sensor scale'
    assert group_of('holding(something)') == 'sensor scale'
    assert group_of('holding(mug)') == 'one object'
    assert group_of('on(mug, plate)') == 'relations'
    assert group_of('success(task)') == 'other'


def test_medians_use_the_modality_chosen_elsewhere_however_bad_it_is_here() -> None:
    results = [
        result('open(a)', 'depth', 0.9),
        result('open(a)', 'image', 0.6),
        result('open(b)', 'depth', 0.8),
        result('open(b)', 'image', 0.4),
        result('on(a, b)', 'depth', 0.55),
        result('on(a, b)', 'image', 0.7),
    ]
    assert group_medians(results, best={'open': 'image', 'on': 'image'}) == {
        'sensor scale': 0.5,
        'relations': 0.7,
    }
    assert group_medians(results)['sensor scale'] == 0.85


def test_predicates_with_few_moments_do_not_count() -> None:
    results = [result('open(a)', 'depth', 0.9), result('open(b)', 'depth', 0.1, count=4)]
    assert group_medians(results) == {'sensor scale': 0.9}


def test_best_modality_goes_by_relation_and_is_never_the_fusion() -> None:
    results = [
        result('open(a)', 'fused', 0.99),
        result('open(a)', 'depth', 0.7),
        result('open(a)', 'image', 0.8),
        result('dropped(something)', 'audio', 0.9),
        result('dropped(something)', 'image', 0.5),
    ]
    assert best_modalities(results) == {'open': 'image', 'dropped': 'audio'}
