"""The losses against plain loops over their formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.training.loss import contrastive_loss, opposite_loss

SCALE = torch.tensor(7.0)


def unit(rows: int, size: int = 5, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, size, generator=generator), dim=-1)


def test_opposite_loss_is_weighted_logistic_loss_of_known_facts() -> None:
    embeddings, positive, negative = unit(3, seed=0), unit(2, seed=1), unit(2, seed=2)
    truth = torch.tensor([[1, 0], [-1, 1], [0, -1]])
    weights = torch.tensor([[1.0, 2.0], [9.0, 0.5], [3.0, 9.0]])
    total, share = 0.0, 0.0
    for sample in range(3):
        for fact in range(2):
            if truth[sample, fact] < 0:
                continue
            contrast = F.normalize(positive[fact] - negative[fact], dim=0)
            logit = 7.0 * float(embeddings[sample] @ contrast)
            sign = 1 if truth[sample, fact] else -1
            weight = float(weights[sample, fact])
            total += weight * math.log1p(math.exp(-sign * logit))
            share += weight
    found = opposite_loss(
        embeddings, positive, negative, truth=truth, weights=weights, scale=SCALE
    )
    assert found.item() == pytest.approx(total / share, rel=1e-5)


def test_opposite_loss_pulls_nothing_towards_unknown_facts() -> None:
    embeddings = unit(4, seed=0).requires_grad_()
    truth = torch.full((4, 2), -1)
    loss = opposite_loss(
        embeddings,
        unit(2, seed=1),
        unit(2, seed=2),
        truth=truth,
        weights=torch.ones(4, 2),
        scale=SCALE,
    )
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


def naive_one_way(logits: Tensor, matches: Tensor, known: Tensor) -> float:
    losses = []
    for row in range(len(logits)):
        chosen = [t for t in range(logits.shape[1]) if matches[row, t] and known[row, t]]
        if not chosen:
            continue
        total = sum(
            math.exp(float(logits[row, t])) for t in range(logits.shape[1]) if known[row, t]
        )
        losses.append(-sum(float(logits[row, t]) - math.log(total) for t in chosen) / len(chosen))
    return sum(losses) / len(losses) if losses else 0.0


def test_contrastive_loss_is_symmetric_infonce_over_known_pairs() -> None:
    embeddings, texts = unit(4, seed=3), unit(3, seed=4)
    matches = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.bool)
    known = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.bool)
    logits = 7.0 * embeddings @ texts.T
    expected = 0.5 * (
        naive_one_way(logits, matches, known) + naive_one_way(logits.T, matches.T, known.T)
    )
    found = contrastive_loss(embeddings, texts, matches=matches, known=known, scale=SCALE)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_contrastive_loss_is_plain_clip_loss_when_each_sample_has_its_own_sentence() -> None:
    embeddings, texts = unit(6, seed=5), unit(6, seed=6)
    logits = SCALE * embeddings @ texts.T
    labels = torch.arange(6)
    clip = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    found = contrastive_loss(
        embeddings,
        texts,
        matches=torch.eye(6, dtype=torch.bool),
        known=torch.ones(6, 6, dtype=torch.bool),
        scale=SCALE,
    )
    assert found.item() == pytest.approx(clip.item(), rel=1e-5)


def test_contrastive_loss_keeps_gradients_finite_where_little_is_known() -> None:
    embeddings = unit(3, seed=7).requires_grad_()
    known = torch.tensor([[1, 0], [0, 0], [1, 0]], dtype=torch.bool)
    matches = torch.tensor([[1, 1], [1, 1], [0, 0]], dtype=torch.bool)
    contrastive_loss(
        embeddings, unit(2, seed=8), matches=matches, known=known, scale=SCALE
    ).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
    assert not embeddings.grad[1].any()
    assert embeddings.grad[0].any()
