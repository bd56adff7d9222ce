"""Losses against language: InfoNCE with several positives, and contrast of opposite wordings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def opposite_loss(
    embeddings: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    truth: Tensor,
    weights: Tensor,
    scale: Tensor,
) -> Tensor:
    """Logistic loss that prefers the true wording of every known fact over its opposite.

    The two wordings of a fact are each other's hardest negatives: a text tower embeds "the drawer
    is open" and "the drawer is closed" almost identically. The logistic loss is InfoNCE with
    exactly these two candidates.

    Args:
        embeddings: `[B, D]`, unit length.
        positive: Embedded wordings that affirm each fact, `[P, D]`, unit length.
        negative: Embedded wordings that deny it, `[P, D]`, unit length.
        truth: `[B, P]`; 1 true, 0 false, -1 unknown (ignored).
        weights: `[B, P]`, for example to balance rare values.
        scale: Logit scale (exponentiated), scalar.

    Returns:
        Weighted mean, scalar.
    """
    contrast = F.normalize(positive - negative, dim=-1)
    logits = scale * embeddings @ contrast.T
    losses = F.binary_cross_entropy_with_logits(
        logits, truth.clamp(min=0).float(), reduction='none'
    )
    shares = weights * (truth >= 0)
    return (losses * shares).sum() / shares.sum().clamp(min=1e-6)


def contrastive_loss(
    embeddings: Tensor, texts: Tensor, *, matches: Tensor, known: Tensor, scale: Tensor
) -> Tensor:
    """Symmetric InfoNCE between samples and sentences or images, with several positives each.

    A sentence that is true of several samples is a positive of all of them; pairs of unknown truth
    are left out, so that a true pair is never pushed apart.

    Args:
        embeddings: `[B, D]`, unit length.
        texts: Vectors of sentences, or of images, `[T, D]`, unit length.
        matches: bool `[B, T]`, whether each sentence is true of each sample.
        known: bool `[B, T]`, where `matches` is known.
        scale: Logit scale (exponentiated), scalar.

    Returns:
        Mean over both directions, scalar; rows without a positive are ignored.
    """
    logits = (scale * embeddings @ texts.T).masked_fill(~known, -torch.inf)
    positives = matches & known
    return 0.5 * (_one_way(logits, positives) + _one_way(logits.T, positives.T))


def _one_way(logits: Tensor, positives: Tensor) -> Tensor:
    rows = positives.any(dim=1)
    if not rows.any():
        return logits.new_zeros(())
    log_share = logits[rows].log_softmax(dim=1)
    chosen = positives[rows]
    total = log_share.masked_fill(~chosen, 0.0).sum(1)
    return -(total / chosen.sum(1)).mean()
