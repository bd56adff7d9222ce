"""What is false because its thing is absent gets its own share of the weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.bags.samples import Samples, absent_things
from train.training.objective import balance_weights, weights_of

PREDICATES = ('rough(surface)', 'inserted(peg)', 'holding(something)')
# A surface, a peg, and nothing but something that may be held.
SCENES = ('rubbing', 'insertion', 'rubbing', 'grasping')


def samples(*, scenes: tuple[str, ...] = SCENES, count: int = 8, seed: int = 0) -> Samples:
    """Facts change in their own scene, are unknown at some moments, and false elsewhere."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((len(SCENES), count, len(PREDICATES)), np.int8)
    truth[[0, 2], :, 0] = rng.integers(-1, 2, (2, count))
    truth[1, :, 1] = rng.integers(0, 2, count)
    truth[..., 2] = rng.integers(0, 2, (len(SCENES), count))
    truth[0, :2, 0] = truth[1, :2, 1] = (0, 1)
    return Samples(
        inputs={},
        truth=truth.reshape(-1, len(PREDICATES)),
        predicates=PREDICATES,
        bag=np.repeat(np.arange(len(SCENES)), count),
        times_s=np.zeros(len(SCENES) * count),
        bags=tuple(f'bag{index}' for index in range(len(SCENES))),
        regions=np.zeros((len(SCENES) * count, 1, 1), np.uint8),
        region_names=(),
        scenes=scenes,
    )


def test_a_thing_is_absent_where_its_fact_is_never_true_but_elsewhere_is() -> None:
    expected = [[False, True, False], [True, False, False], [False, True, False]]
    assert absent_things(samples())[:3].tolist() == expected
    assert absent_things(samples())[3].tolist() == [True, True, False]
    assert not absent_things(samples(scenes=())).any()


@pytest.mark.parametrize('share', [0.0, 0.4, 0.9])
def test_absent_things_have_their_share_of_the_weight_of_what_is_false(share: float) -> None:
    data = samples(count=40)
    absent = absent_things(data)
    balance = balance_weights(data, {'rough': 1.0}, absent=absent, absent_share=share)
    there = absent[data.bag][:, 0]
    is_false = data.truth[:, 0] == 0
    elsewhere = float(balance[2, 0]) * (is_false & there).sum()
    own = float(balance[0, 0]) * (is_false & ~there).sum()
    true = float(balance[1, 0]) * (data.truth[:, 0] == 1).sum()
    assert elsewhere / (elsewhere + own) == pytest.approx(share)
    assert elsewhere + own == pytest.approx(true)


def test_without_a_share_all_that_is_false_weighs_the_same() -> None:
    data = samples()
    absent = absent_things(data)
    plain = balance_weights(data, {'rough': 1.0, 'inserted': 1.0})
    assert torch.equal(plain[0], plain[2])
    same = balance_weights(data, {'rough': 1.0, 'inserted': 1.0}, absent=absent)
    assert torch.equal(plain, same)
    truth = torch.from_numpy(data.truth).long()
    rows = weights_of(truth, torch.from_numpy(absent[data.bag]), plain)
    assert torch.equal(rows, torch.where(truth == 1, plain[1], plain[0]))
