"""How often the right name ranks first."""

from __future__ import annotations

import numpy as np
import pytest

from train.bags.samples import Samples
from train.evaluation.which_thing import named_first

HELD = ('holding(bowl)', 'holding(cup)', 'holding(plate)', 'holding(something)')


def samples(truth: list[list[int]], predicates: tuple[str, ...]) -> Samples:
    count = len(truth)
    return Samples(
        inputs={},
        truth=np.array(truth, np.int8),
        predicates=predicates,
        bag=np.arange(count) % 2,
        times_s=np.arange(count, dtype=float),
        bags=('one', 'two'),
        regions=np.zeros((count, 64, 64), np.uint8),
        region_names=(),
    )


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_the_largest_score_among_the_names_counts() -> None:
    data = samples([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, -1, 1]], HELD)
    table = scores([3, 1, 1, 9], [3, 2, 1, 9], [3, 1, 1, 9], [1, 0, 5, 9])
    (found,) = named_first({'depth': table}, data).values()
    # Nothing is held in the third; the plate is not known in the last.
    assert found.samples == 3
    assert found.first['depth'].value == pytest.approx(2 / 3)
    assert found.chance == pytest.approx(round((1 / 3 + 1 / 3 + 1 / 2) / 3, 3))
    assert found.names == pytest.approx(round(8 / 3, 2))


def test_names_that_share_the_first_rank_count_by_their_share() -> None:
    data = samples([[1, 0, 0, 1], [1, 0, 0, 1]], HELD)
    silent = scores([np.nan] * 4, [2, 2, 0, 0])
    read = scores([1, 0, 0, 0], [1, 0, 0, 0])
    found = named_first({'depth': silent, 'fused': read}, data)['held thing']
    assert found.first['depth'].value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.first['fused'].value == 1.0


def test_a_place_is_asked_for_by_its_things_and_a_thing_by_its_places() -> None:
    names = ('in(bowl, top drawer)', 'in(cup, top drawer)', 'in(bowl, bottom drawer)')
    data = samples([[1, 0, 0], [0, 1, 0], [1, 1, 0]], names)
    table = scores([2, 1, 3], [2, 1, 0], [2, 1, 0])
    found = named_first({'fused': table}, data)
    things, places = found['thing in a place'], found['place of a thing inside']
    # In the third sample, everything is in the top drawer.
    assert (things.samples, things.first['fused'].value) == (2, 0.5)
    assert (places.samples, places.first['fused'].value) == (2, 0.5)


def test_a_scene_with_one_name_asks_nothing() -> None:
    data = samples([[1, 1]], ('holding(bowl)', 'holding(something)'))
    assert named_first({'fused': scores([1, 1])}, data) == {}
