"""Intervals over bags: exact on every draw, and as wide as few bags deserve."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from train.bags.samples import Samples
from train.evaluation.intervals import resample, resampled_auroc
from train.evaluation.metrics import bootstrap


def samples(truth: np.ndarray, bag: np.ndarray, predicates: tuple[str, ...]) -> Samples:
    return Samples(
        inputs={},
        truth=truth.astype(np.int8),
        predicates=predicates,
        bag=bag,
        times_s=np.arange(len(bag), dtype=float),
        bags=tuple(f'bag{k}' for k in range(bag.max() + 1)),
        regions=np.zeros((len(bag), 64, 64), np.uint8),
        region_names=(),
    )


def test_a_draw_gives_the_auroc_of_the_moments_as_often_as_they_were_drawn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.3
    scores = (rng.integers(0, 6, 60) + 2 * truth).astype(np.float32)  # many ties
    bags = rng.integers(0, 5, 60)
    drawn = rng.multinomial(5, [0.2] * 5, size=20).astype(float)
    found = resampled_auroc(truth, scores, bags=bags, drawn=drawn)
    for area, times in zip(found, drawn, strict=True):
        rows = np.repeat(np.arange(60), times[bags].astype(int))
        assert area == pytest.approx(roc_auc_score(truth[rows], scores[rows]))


def test_a_draw_of_one_truth_has_no_auroc() -> None:
    truth, bags = np.array([True, False, True, True]), np.array([0, 0, 1, 1])
    scores = np.array([0.9, 0.1, 0.2, 0.3], np.float32)
    both, one = resampled_auroc(truth, scores, bags=bags, drawn=np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert both == 1.0
    assert np.isnan(one)


def test_copies_of_a_sample_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((12, 1)) < 0.5).astype(int)
    scores = (rng.normal(0, 1, (12, 1)) + truth).astype(np.float32)
    names = ('open(drawer)',)
    once = resample({'depth': scores}, samples(truth, np.arange(12), names))
    many = resample(
        {'depth': scores.repeat(30, 0)},
        samples(truth.repeat(30, 0), np.arange(12).repeat(30), names),
    )
    assert once.interval('open(drawer)', 'depth') == many.interval('open(drawer)', 'depth')
    cases = scores[:, 0]
    apart = bootstrap(cases, np.mean)
    together = bootstrap(cases.repeat(30), np.mean, clusters=np.arange(12).repeat(30))
    taken_apart = bootstrap(cases.repeat(30), np.mean)
    assert (together.low, together.high) == pytest.approx((apart.low, apart.high), abs=1e-6)
    assert taken_apart.high - taken_apart.low < 0.5 * (apart.high - apart.low)


def test_an_interval_holds_the_value_and_a_median_is_drawn_together() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random((200, 3)) < 0.4).astype(int)
    scores = (rng.normal(0, 1, (200, 3)) + truth).astype(np.float32)
    names = ('open(a)', 'open(b)', 'open(c)')
    found = resample({'depth': scores}, samples(truth, np.arange(200) // 10, names))
    for column, name in enumerate(names):
        interval = found.interval(name, 'depth')
        assert interval is not None
        assert interval[0] < roc_auc_score(truth[:, column], scores[:, column]) < interval[1]
    alone = found.interval('open(a)', 'depth')
    assert found.median_interval([('open(a)', 'depth')] * 3) == alone


def test_one_bag_gives_no_interval() -> None:
    truth, scores = np.array([[1], [0], [1]]), np.array([[0.9], [0.1], [0.3]], np.float32)
    found = resample({'depth': scores}, samples(truth, np.zeros(3, int), ('open(a)',)))
    assert found.interval('open(a)', 'depth') is None
