"""Facts about things that are not in view."""

from __future__ import annotations

import numpy as np

from train.bags.samples import Samples
from train.bags.visible import MIN_VISIBLE_CELLS, hidden_facts

PREDICATES = ('in(bowl, drawer)', 'open(drawer)', 'holding(something)', 'on(cup, bowl)')


def samples(regions: np.ndarray, names: tuple[str, ...]) -> Samples:
    count = len(regions)
    return Samples(
        inputs={},
        truth=np.ones((count, len(PREDICATES)), np.int8),
        predicates=PREDICATES,
        bag=np.zeros(count, np.int64),
        times_s=np.arange(count, dtype=float),
        bags=('one',),
        regions=regions.astype(np.uint8),
        region_names=names,
    )


def test_a_fact_is_hidden_while_one_of_its_things_is() -> None:
    regions = np.zeros((3, 64, 64))
    regions[:, :20] = 2  # the drawer
    regions[0, 30:40, 30:40] = 1  # the bowl
    regions[1, 30, : MIN_VISIBLE_CELLS - 1] = 1
    hidden = hidden_facts(samples(regions, ('bowl', 'drawer')))
    # The cup has no region, so only the bowl decides.
    assert hidden[:, 0].tolist() == hidden[:, 3].tolist() == [False, True, True]
    assert not hidden[:, 1:3].any()


def test_without_regions_nothing_is_hidden() -> None:
    assert not hidden_facts(samples(np.zeros((2, 64, 64)), ())).any()
    # One moment of a bag without a message about regions.
    assert not hidden_facts(samples(np.zeros((2, 64, 64)), ('bowl', 'drawer'))).any()
