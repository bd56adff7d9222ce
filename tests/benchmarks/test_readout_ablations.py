"""Ablations of readouts: what is asked of held-out samples, and how variants are compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.readout_ablation_measures import HeldOut, measured, ways_of
from benchmarks.readout_ablations import BASE, POOLED, OneSided, differences, one_sided, summary
from encoders.vision.readout import Readout, ReadoutConfig
from train.bags.samples import UNKNOWN, Samples
from train.phrasings import Sentences
from train.training.readout_tokens import BagTokens, TokenData

CONFIG = ReadoutConfig(token_width=8, tokens=5, width=8, heads=2, text_width=16, text_hidden=8)
PREDICATES = ('holding(cup)', 'holding(bowl)', 'open(drawer)')
COUNT = 12
KEY = ('trained', 'sides')


def readout(seed: int) -> Readout:
    """A readout of which no part is at its start."""
    torch.manual_seed(seed)
    made = Readout(CONFIG)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


@pytest.fixture
def val() -> HeldOut:
    """Two bags; the second does not know about the bowl."""
    rng = np.random.default_rng(0)
    truth = np.tile([[1, 0, 1], [0, 1, 0]], (COUNT, 1)).astype(np.int8)
    truth[COUNT:, 1] = UNKNOWN
    samples = Samples(
        inputs={},
        truth=truth,
        predicates=PREDICATES,
        bag=np.repeat([0, 1], COUNT),
        times_s=np.zeros(2 * COUNT),
        bags=('a', 'b'),
        regions=np.zeros((2 * COUNT, 64, 64), np.uint8),
        region_names=(),
    )
    shape = (1, COUNT, CONFIG.tokens, CONFIG.token_width)
    regions = torch.zeros(1, COUNT, 64, 64, dtype=torch.uint8)
    bags = {
        name: [BagTokens(torch.from_numpy(rng.normal(size=shape)).half(), regions, ())] * 2
        for name in ('image', 'depth')
    }
    texts = torch.from_numpy(rng.normal(size=(2, 3, CONFIG.text_width))).float()
    return HeldOut(TokenData(samples, bags, truth), samples, {KEY: F.normalize(texts, dim=-1)})


def test_exchanged_sides_negate_a_readout_but_not_a_one_sided_one() -> None:
    plain = readout(0)
    changed = one_sided(nn.ModuleDict({'image': plain}))['image']
    assert isinstance(changed, OneSided)
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, changed.get_parameter(name))
    yes, no = torch.randn(2, 4, CONFIG.text_width)
    tokens = plain.reduce(torch.randn(3, CONFIG.tokens, CONFIG.token_width))
    there, back = (plain(tokens, plain.ask(*pair))[0] for pair in ((yes, no), (no, yes)))
    torch.testing.assert_close(there, -back)
    there, back = (changed(tokens, changed.ask(*pair))[0] for pair in ((yes, no), (no, yes)))
    assert (there + back).abs().max() > 0.1


def test_a_fact_is_asked_in_four_ways() -> None:
    ways = ways_of(Sentences(('the drawer is open', 'it is ajar'), ('the drawer is closed',)))
    assert ways['sides'] == (('the drawer is open', 'it is ajar'), ('the drawer is closed',))
    assert ways['exchanged'] == ways['sides'][::-1]
    assert ways['sentence'][0][0] == 'the drawer is open'
    assert ways['denials'] == (('the drawer is not closed',), ('the drawer is closed',))


def test_log_odds_of_sensors_are_added_where_the_bag_knows_the_fact(val: HeldOut) -> None:
    readouts = {'image': readout(0), 'depth': readout(1)}
    found = val.read(readouts)[KEY]
    rows = torch.arange(2 * COUNT)
    expected = sum(
        (
            each(
                each.reduce(val.data.tokens(name, rows, torch.zeros_like(rows)).float()),
                each.ask(*val.texts[KEY]),
            )[0]
            for name, each in readouts.items()
        ),
        torch.zeros(2 * COUNT, 3),
    ).numpy()
    known = val.samples.truth != UNKNOWN
    np.testing.assert_allclose(found[known], expected[known], atol=1e-4)
    assert not found[~known].any()


def test_perfect_scores_are_measured_as_such(val: HeldOut) -> None:
    scores = val.samples.truth.astype(np.float32)
    found = measured(val, {KEY: scores, ('trained', 'exchanged'): -scores})
    groups = {'one object': 1.0, 'open': 1.0}
    assert found['sides']['trained'] == {**groups, 'held thing': 1.0}
    assert found['exchanged']['trained'] == groups
    assert val.counts() == {'one object': 2, 'open': 1}


def test_variants_are_compared_seed_by_seed() -> None:
    rows = {
        POOLED: {0: {'a': 0.5}},
        BASE: {0: {'a': 0.8}, 1: {'a': 0.9}},
        'other': {1: {'a': 0.6, 'b': 0.3}, 2: {'a': 0.7}},
    }
    found = differences(rows)
    assert found['other'] == {'a': {'mean': -0.3, 'values': [-0.3]}}
    assert found[POOLED]['a']['values'] == [-0.3, -0.4]
    assert summary(list(rows[BASE].values()))['a'] == {
        'mean': 0.85, 'values': [0.8, 0.9], 'deviation': 0.071,
    }  # fmt: skip
    assert summary(list(rows['other'].values()))['b']['mean'] == 0.3
