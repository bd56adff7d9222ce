"""Whether a peak of attention counts as a look at the thing that the sentence names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.attention import Looks, looks_of, summary, widened
from train.bags.samples import REGION_SIZE, UNKNOWN, Samples

GRID = (8, 8)  # of 8 x 8 cells of the labels each
PATCH = REGION_SIZE // GRID[0]


def samples(facts: Sequence[str], count: int = 2, *, hidden: bool = False) -> Samples:
    """A cup in patch (1, 2), a plate in patches (5, 4) and (5, 5)."""
    labels = np.zeros((count, REGION_SIZE, REGION_SIZE), np.uint8)
    if not hidden:
        labels[:, PATCH : 2 * PATCH, 2 * PATCH : 3 * PATCH] = 1
    labels[:, 5 * PATCH : 6 * PATCH, 4 * PATCH : 6 * PATCH] = 2
    return Samples(
        inputs={},
        truth=np.ones((count, len(facts)), np.int8),
        predicates=tuple(facts),
        bag=np.zeros(count, np.int64),
        times_s=np.arange(count, dtype=np.float64),
        bags=('bag',),
        regions=labels,
        region_names=('cup', 'plate'),
    )


def at(*places: tuple[int, int]) -> np.ndarray:
    return np.array([[row * GRID[1] + column] for row, column in places])


def test_a_peak_counts_on_the_thing_and_near_it() -> None:
    bag = samples(['holding(cup)'], 4)
    looks = looks_of(bag, at((1, 2), (2, 3), (1, 4), (5, 4)), GRID)
    assert looks.hits['on_first'].tolist() == [True, False, False, False]
    assert looks.hits['near_first'].tolist() == [True, True, False, False]
    np.testing.assert_allclose(looks.chances['on_first'], 1 / 64)
    np.testing.assert_allclose(looks.chances['near_first'], 9 / 64)


def test_facts_of_two_things_count_the_first_and_any() -> None:
    looks = looks_of(samples(['on(cup,plate)']), at((1, 2), (5, 5)), GRID)
    assert looks.hits['on_first'].tolist() == [True, False]
    assert looks.hits['on_any'].tolist() == [True, True]
    np.testing.assert_allclose(looks.chances['on_any'], 3 / 64)


def test_what_is_out_of_view_or_unknown_or_unnamed_does_not_count() -> None:
    assert looks_of(samples(['holding(cup)'], hidden=True), at((1, 2), (1, 2)), GRID).facts == ()
    assert looks_of(samples(['holding(bottle)']), at((1, 2), (1, 2)), GRID).facts == ()
    unknown = samples(['holding(cup)'])
    unknown.truth[0] = UNKNOWN
    assert looks_of(unknown, at((1, 2), (1, 2)), GRID).facts == ('holding(cup)',)
    silent = looks_of(samples(['holding(cup)']), np.array([[-1], [10]]), GRID)
    assert silent.facts == ('holding(cup)',) and silent.hits['on_first'].tolist() == [True]


def test_peaks_at_random_hit_as_often_as_chance_says() -> None:
    count = 4000
    peaks = np.random.default_rng(0).integers(0, 64, (count, 1))
    looks = looks_of(samples(['on(cup,plate)'], count), peaks, GRID)
    for name, hits in looks.hits.items():
        assert hits.mean() == pytest.approx(looks.chances[name].mean(), abs=0.03)


def test_masks_are_widened_by_one_patch_within_the_image() -> None:
    mask = np.zeros((2, 4, 5), bool)
    mask[0, 0, 0] = True
    wide = widened(mask)
    assert wide[0].sum() == 4 and not wide[1].any()


def test_the_summary_is_by_relation_with_an_interval_over_bags() -> None:
    def bag(hit: bool) -> Looks:
        names = ('on(cup,plate)', 'holding(cup)')
        measures = ('on_first', 'near_first', 'on_any', 'near_any')
        return Looks(
            names,
            {name: np.array([hit, True]) for name in measures},
            {name: np.array([0.25, 0.5]) for name in measures},
        )

    found = summary([bag(True), bag(False), bag(False)])
    assert set(found) == {'all', 'on', 'holding'}
    share = found['on']['on_first']
    assert (share.looks, share.facts, share.chance) == (3, 1, 0.25)
    assert share.value == pytest.approx(1 / 3, abs=1e-4)
    assert share.interval is not None and share.interval[0] < share.value < share.interval[1]
    assert found['all']['on_first'].looks == 6
    assert summary([bag(True)])['on']['on_first'].interval is None
