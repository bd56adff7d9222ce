"""Losses on named parts of a picture."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from train.training.regions import (
    Regions,
    naming_loss,
    pool_regions,
    region_fact_loss,
    region_shares,
    subjects,
)

SCALE = torch.tensor(20.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 5), side=st.sampled_from([2, 4, 8]))
def test_every_cell_of_a_part_counts_once(seed: int, count: int, side: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, count + 1, (2, 16, 16), generator=generator).to(torch.uint8)
    shares = region_shares(labels, count, (side, side))
    assert shares.shape == (2, count, side * side)
    for part in range(count):
        cells = (labels == part + 1).sum((1, 2)).float()
        torch.testing.assert_close(shares[:, part].sum(-1), cells)


def test_a_part_is_the_mean_of_the_patches_that_show_it_and_absent_where_it_is_too_small() -> None:
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[0, :8, :8] = 1
    labels[0, 15, 15] = 2
    tokens = torch.arange(4.0).view(1, 4, 1).expand(1, 4, 3)
    pooled, present = pool_regions(tokens, region_shares(labels, 2, (2, 2)))
    assert present.tolist() == [[True, False]]
    assert pooled[0, 0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ('predicate', 'part'),
    [
        ('on(black bowl, plate)', 'black bowl'),
        ('contact(gripper, black bowl)', 'black bowl'),
        ('holding(something)', 'gripper'),
        ('open(top drawer)', 'top drawer'),
        ('dropped(something)', None),
        ('in(teapot, basket)', None),
    ],
)
def test_a_predicate_is_about_its_subject(predicate: str, part: str | None) -> None:
    names = ('black bowl', 'gripper', 'plate', 'top drawer')
    found = subjects([predicate], names).item()
    assert found == (-1 if part is None else names.index(part))


def test_the_losses_fall_when_a_part_moves_to_its_name_and_to_the_truth() -> None:
    names = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    contrasts = names[[1]]
    facts = {'subject': torch.tensor([0]), 'weights': torch.ones(1, 1), 'scale': SCALE}
    right = Regions(names[None, :, :], torch.tensor([[True, False, False]]))
    wrong = Regions(-names[None, :, :], right.present)
    assert naming_loss(right, names, scale=SCALE) < naming_loss(wrong, names, scale=SCALE)
    toward = Regions(contrasts[None].expand(1, 3, 8), right.present)
    for truth, better in ((1, toward), (0, Regions(-toward.vectors, toward.present))):
        worse = Regions(-better.vectors, better.present)
        known = torch.tensor([[truth]])
        low = region_fact_loss(better, contrasts, truth=known, **facts)
        assert low < 0.01 < region_fact_loss(worse, contrasts, truth=known, **facts)


def test_unknown_facts_and_absent_parts_have_no_loss() -> None:
    vectors = F.normalize(torch.ones(1, 2, 4), dim=-1)
    contrasts = F.normalize(torch.ones(2, 4), dim=-1)
    hidden = Regions(vectors, torch.zeros(1, 2, dtype=torch.bool))
    seen = Regions(vectors, torch.ones(1, 2, dtype=torch.bool))
    weights, unknown = torch.ones(1, 2), torch.full((1, 2), -1)
    assert naming_loss(hidden, contrasts, scale=SCALE) == 0
    for regions, subject, truth in (
        (hidden, torch.tensor([0, 1]), torch.ones(1, 2).long()),
        (seen, torch.tensor([-1, -1]), torch.ones(1, 2).long()),
        (seen, torch.tensor([0, 1]), unknown),
    ):
        assert (
            region_fact_loss(
                regions, contrasts, subject=subject, truth=truth, weights=weights, scale=SCALE
            )
            == 0
        )
