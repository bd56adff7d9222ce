"""The learner of taught predicates, on made-up sensors."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.predicates.left_out import estimate
from encoders.predicates.metrics import auroc
from encoders.predicates.taught import AROUND_TEXT, Features, Head, fit

SENSORS, WIDTH = 3, 48
DIRECTION = np.random.default_rng(99).normal(size=WIDTH) / WIDTH**0.5


def world(
    count: int, *, seed: int, text: tuple[float, ...] = (1.5, 0.0, 0.0), direction: float = 0.0
) -> tuple[Features, np.ndarray]:
    """Samples of two sides: `text` is how far apart they are in each sensor's log-odds.

    `direction` is how far apart they are along a direction of the first sensor's vectors.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 0
    sign = np.where(truth, 1.0, -1.0)[:, None]
    odds = sign * np.array(text) + rng.normal(size=(count, SENSORS))
    vectors = rng.normal(size=(count, SENSORS, WIDTH)) / WIDTH**0.5
    vectors[:, 0] += direction * sign * DIRECTION
    arrays = {'vector': vectors.astype(np.float32)}
    return Features(odds.astype(np.float32), arrays), truth


def area(head: Head, seed: int, **about: object) -> float:
    features, truth = world(600, seed=seed, **about)  # type: ignore[arg-type]
    return auroc(truth, head.log_odds(features)) or 0.0


TEXT = np.array([1.0, 0.0, 0.0])


@pytest.mark.parametrize('presses', [2, 4, 10, 20, 40])
def test_a_good_text_stays_as_good_as_it_was(presses: int) -> None:
    losses = []
    for seed in range(12):
        features, truth = world(presses, seed=seed)
        head = fit(features, truth, TEXT)
        assert head is not None
        checked, labels = world(600, seed=1000 + seed)
        zero_shot = auroc(labels, checked.log_odds @ TEXT) or 0.0
        losses.append(zero_shot - area(head, 1000 + seed))
    assert np.mean(losses) < 0.01


def test_presses_find_the_sensor_that_the_text_does_not_count() -> None:
    hidden = (0.0, 0.0, 1.5)
    features, truth = world(10, seed=1, text=hidden)
    head = fit(features, truth, np.array([1.0, 1.0, 1.0]) / 3)
    assert head is not None
    checked, labels = world(600, seed=2, text=hidden)
    zero_shot = auroc(labels, checked.log_odds.mean(axis=1)) or 0.0
    assert area(head, 2, text=hidden) > zero_shot + 0.05
    assert head.share.argmax() == 2


def test_many_presses_find_a_direction_in_the_vectors() -> None:
    nothing = {'text': (0.0, 0.0, 0.0), 'direction': 1.5}
    features, truth = world(60, seed=3, **nothing)  # type: ignore[arg-type]
    for text in (None, TEXT):
        head = fit(features, truth, text)
        assert head is not None
        assert area(head, 4, **nothing) > 0.9


def test_presses_move_the_threshold_of_the_scene() -> None:
    features, truth = world(20, seed=5, text=(2.0, 0.0, 0.0))
    shifted = Features(features.log_odds + np.array([4, 0, 0], np.float32), features.blocks)
    head = fit(shifted, truth, TEXT)
    assert head is not None
    checked, labels = world(600, seed=6, text=(2.0, 0.0, 0.0))
    moved = Features(checked.log_odds + np.array([4, 0, 0], np.float32), checked.blocks)
    right = (head.log_odds(moved) > 0) == labels
    assert right.mean() > 0.9
    assert ((moved.log_odds @ TEXT > 0) == labels).mean() < 0.7


def test_one_side_alone_teaches_nothing() -> None:
    features, truth = world(8, seed=7)
    assert fit(features, np.ones_like(truth), TEXT) is None
    assert fit(features, np.zeros_like(truth), None) is None


def test_one_press_a_side_moves_the_threshold_only_and_claims_no_accuracy() -> None:
    features, truth = world(2, seed=8)
    head = fit(features, truth, TEXT)
    assert head is not None and head.estimate is None
    assert head.spreads == AROUND_TEXT[0][0]
    assert head.spreads.weights == head.spreads.blocks == 0


def test_leaving_out_a_press_is_close_to_fitting_without_it() -> None:
    features, truth = world(24, seed=9, text=(1.0, 0.0, 0.0), direction=1.0)
    head = fit(features, truth, None)
    assert head is not None
    refitted = []
    for gone in range(len(truth)):
        kept = np.arange(len(truth)) != gone
        other = fit(
            Features(features.log_odds[kept], {'vector': features.blocks['vector'][kept]}),
            truth[kept],
            None,
        )
        assert other is not None
        one = Features(features.log_odds[[gone]], {'vector': features.blocks['vector'][[gone]]})
        refitted.append(other.log_odds(one)[0])
    assert np.corrcoef(refitted, head.left_out)[0, 1] > 0.9


def test_the_estimate_is_honest() -> None:
    errors, covered = [], []
    for seed in range(60):
        features, truth = world(12, seed=200 + seed)
        head = fit(features, truth, TEXT)
        assert head is not None and head.estimate is not None
        checked, labels = world(600, seed=900 + seed)
        odds = head.log_odds(checked)
        true = ((odds[labels] > 0).mean() + (odds[~labels] < 0).mean()) / 2
        errors.append(head.estimate.accuracy - true)
        covered.append(head.estimate.low <= true <= head.estimate.high)
    assert abs(np.mean(errors)) < 0.05
    assert np.mean(covered) > 0.85


def test_the_probabilities_of_a_taught_predicate_are_calibrated() -> None:
    """Log-odds around 1 are true three times out of four, whatever the text claimed."""
    inside, true = 0, 0
    for seed in range(20):
        features, truth = world(30, seed=300 + seed, text=(0.7, 0.0, 0.0))
        loud = Features(features.log_odds * np.float32(6), features.blocks)
        head = fit(loud, truth, TEXT)
        assert head is not None
        checked, labels = world(600, seed=700 + seed, text=(0.7, 0.0, 0.0))
        odds = head.log_odds(Features(checked.log_odds * np.float32(6), checked.blocks))
        near = (odds > 0.5) & (odds < 1.5)
        inside, true = inside + int(near.sum()), true + int(labels[near].sum())
    assert 0.55 < true / inside < 0.9


def test_a_silent_sensor_does_not_break_a_head() -> None:
    features, truth = world(12, seed=10)
    odds = features.log_odds.copy()
    odds[:3, 1] = np.nan
    vectors = features.blocks['vector'].copy()
    vectors[:3, 1] = np.nan
    head = fit(Features(odds, {'vector': vectors}), truth, TEXT)
    assert head is not None
    assert np.isfinite(head.log_odds(Features(odds, {'vector': vectors}))).all()


def test_a_sensor_that_only_one_side_had_does_not_tell_the_sides_apart() -> None:
    features, truth = world(12, seed=11)
    odds, vectors = features.log_odds.copy(), features.blocks['vector'].copy()
    odds[~truth, 2], vectors[~truth, 2] = np.nan, np.nan
    head = fit(Features(odds, {'vector': vectors}), truth, TEXT)
    assert head is not None
    assert abs(head.slope[2]) < 1.0
    checked, labels = world(600, seed=12)
    assert (auroc(labels, head.log_odds(checked)) or 0) > 0.85


def test_equal_presses_give_equal_heads() -> None:
    features, truth = world(20, seed=13)
    one, other = fit(features, truth, TEXT), fit(features, truth, TEXT)
    assert one is not None and other is not None
    assert one.bias == other.bias
    assert (one.slope == other.slope).all()


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 12),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
    has_text=st.booleans(),
)
def test_any_presses_give_finite_log_odds(
    count: int, seed: int, scale: float, has_text: bool
) -> None:
    features, truth = world(count, seed=seed)
    scaled = Features(
        features.log_odds * np.float32(scale),
        {'vector': features.blocks['vector'] * np.float32(scale)},
    )
    head = fit(scaled, truth, TEXT if has_text else None)
    assert head is not None
    assert np.isfinite(head.log_odds(scaled)).all()
    assert head.share.sum() == pytest.approx(1.0, abs=1e-6) or head.share.sum() == 0.0


def test_the_interval_narrows_with_the_presses() -> None:
    few = estimate(np.array([1, 1, -1, -1.0]), np.array([True, True, False, False]))
    many = estimate(np.tile([1, -1.0], 20), np.tile([True, False], 20))
    assert few is not None and many is not None
    assert few.low < many.low and few.accuracy < many.accuracy < 1.0
    assert estimate(np.array([1.0, -1.0]), np.array([True, False])) is None


def test_a_fit_occupies_no_other_core() -> None:
    # Threads of NumPy, SciPy or PyTorch would wait for each other where a core is occupied.
    features, truth = world(200, seed=5)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(features, truth, TEXT)
        began_s, own_s = time.process_time(), time.thread_time()
        for _ in range(5):
            fit(features, truth, TEXT)
        own_s = time.thread_time() - own_s
        others_s = time.process_time() - began_s - own_s
    finally:
        torch.set_num_threads(before)
    assert others_s < 0.2 * own_s, (others_s, own_s)


def test_a_sensor_without_evidence_changes_nothing() -> None:
    features, truth = world(40, seed=6, direction=2.0)
    silent = np.full((len(truth), 1), np.nan, np.float32)
    more = Features(
        np.concatenate([features.log_odds, silent], axis=1),
        {
            name: np.concatenate([block, np.full_like(block[:, :1], np.nan)], axis=1)
            for name, block in features.blocks.items()
        },
    )
    head, wider = fit(features, truth, TEXT), fit(more, truth, np.append(TEXT, 0.0))
    assert head is not None and wider is not None
    assert wider.weights['vector'].shape == (SENSORS + 1, WIDTH)
    assert not wider.weights['vector'][-1].any() and wider.share[-1] == 0
