"""What the prior of a taught predicate weighs, on made-up series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.predicates.metrics import auroc
from encoders.predicates.posterior import modes
from encoders.predicates.prior import groups_of, parts_of, relevance_of
from encoders.predicates.taught import Features, Head, fit

SENSORS, WIDTH, STATISTICS = 2, 48, 300


def felt(count: int, *, seed: int, apart: float) -> tuple[Features, np.ndarray]:
    """Samples that differ by `apart` in one statistic of the first of two series."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 0
    statistics = rng.normal(size=(count, SENSORS, STATISTICS))
    statistics[:, 0, 7] += apart * np.where(truth, 0.5, -0.5)
    vectors = rng.normal(size=(count, SENSORS, WIDTH)) / WIDTH**0.5
    odds = rng.normal(size=(count, SENSORS))
    arrays = {
        'vector': vectors.astype(np.float32),
        'statistics': statistics.astype(np.float32),
    }
    return Features(odds.astype(np.float32), arrays), truth


def taught(presses: int, *, seed: int, apart: float) -> Head:
    features, truth = felt(presses, seed=seed, apart=apart)
    head = fit(features, truth, None)
    assert head is not None
    return head


def area(head: Head, *, apart: float) -> float:
    features, truth = felt(600, seed=1000, apart=apart)
    return auroc(truth, head.log_odds(features)) or 0.0


def test_ten_presses_a_side_find_one_statistic_among_hundreds() -> None:
    areas = [area(taught(20, seed=seed, apart=3.0), apart=3.0) for seed in range(10)]
    assert np.median(areas) > 0.9  # 0.98 for this statistic alone


def test_the_series_that_feels_the_predicate_counts_most() -> None:
    shares = [taught(40, seed=seed, apart=3.0).share for seed in range(5)]
    assert np.mean(shares, axis=0)[0] > 0.75


@pytest.mark.parametrize('presses', [6, 10, 20, 40, 80])
def test_statistics_that_differ_by_chance_claim_no_accuracy(presses: int) -> None:
    """Some of hundreds separate the presses by chance, but do not predict a left-out press."""
    claimed = []
    for seed in range(20):
        head = taught(presses, seed=seed, apart=0.0)
        assert head.estimate is not None
        claimed.append(head.estimate.accuracy)
    assert np.mean(claimed) < 0.6


def test_relevance_is_that_of_the_presses_that_count() -> None:
    features, truth = felt(20, seed=0, apart=4.0)
    values = features.blocks['statistics'][:, 0].astype(float)
    everything = relevance_of(values, truth, np.ones(20, bool))
    assert everything.argmax() == 7
    some = np.arange(20) < 12
    np.testing.assert_allclose(
        relevance_of(values, truth, some), relevance_of(values[:12], truth[:12], some[:12])
    )
    assert (relevance_of(values, truth, np.arange(20) < 3) == 1).all()


@given(yes=st.integers(0, 60), no=st.integers(0, 60))
def test_every_group_has_both_sides_and_leaves_both(yes: int, no: int) -> None:
    truth = np.arange(yes + no) < yes
    groups = groups_of(truth)
    if min(yes, no) < 2:
        assert not groups.any()
        return
    assert (groups > 0).all()
    for group in range(1, groups.max() + 1):
        assert len(set(truth[groups == group])) == 2
        assert len(set(truth[groups != group])) == 2


@settings(deadline=None, max_examples=25)
@given(presses=st.integers(4, 16), seed=st.integers(0, 1000))
def test_blocks_are_centred_and_weigh_alike(presses: int, seed: int) -> None:
    features, truth = felt(presses, seed=seed, apart=1.0)
    parts = parts_of(features.log_odds, features.blocks, truth)
    assert [(block.name, block.sensor) for block in parts.blocks] == [
        (name, sensor) for name in ('vector', 'statistics') for sensor in range(SENSORS)
    ]
    for block in parts.blocks:
        original = features.blocks[block.name][:, block.sensor]
        np.testing.assert_allclose(block.mean + block.scale * block.values, original, atol=1e-4)
        for weights, gram in zip(block.relevance, block.grams(), strict=True):
            weighed = block.values * weights
            assert (weighed**2).sum(1).mean() == pytest.approx(1.0)
            np.testing.assert_allclose(gram, weighed @ weighed.T, atol=1e-9)


def test_modes_of_many_models_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 12, 5))
    kernels = rows @ rows.transpose(0, 2, 1)
    means, truth, counted = rng.normal(size=(3, 12)), np.arange(12) % 3 == 0, np.ones(12)
    together = modes(kernels, means, truth, counted)
    for place in range(3):
        alone = modes(kernels[[place]], means[[place]], truth, counted)
        np.testing.assert_allclose(together.dual[place], alone.dual[0], atol=1e-3)
        np.testing.assert_allclose(together.left_out[place], alone.left_out[0], atol=1e-2)
    # At the mode, the gradient of the likelihood is the dual.
    odds = means + np.einsum('bij,bj->bi', kernels, together.dual)
    np.testing.assert_allclose(together.dual, truth - 1 / (1 + np.exp(-odds)), atol=2e-3)
