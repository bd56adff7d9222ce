"""Losses on named parts of an image: what each part is, and which facts about it are true.

Forty facts about a whole image do not show where each can be seen. A simulator knows which cells
show the bowl; the losses pull their mean token towards "a bowl" and to the right side of every
fact about the bowl (compare region-text contrast: Zhong et al. 2022, "RegionCLIP").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.phrasings import Fact

MIN_CELLS = 4.0
GRIPPER_RELATIONS = ('holding', 'lifted')


@dataclass(frozen=True, slots=True)
class Regions:
    """Vectors of the named parts of a batch.

    Attributes:
        vectors: float `[B, V, D]`, unit length where `present`.
        present: bool `[B, V]`, whether the part is visible.
    """

    vectors: Tensor
    present: Tensor


def region_shares(labels: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Number of cells of every part in every patch, float `[B, V, rows * columns]`.

    Args:
        labels: uint8 `[B, R, R]`: 0 for no part, otherwise 1 + index of the part.
        count: Number of parts `V`.
        grid: Number of patches (rows, columns).
    """
    planes = F.one_hot(labels.long(), count + 1)[..., 1:].movedim(-1, 1).float()
    cells = labels.shape[1] * labels.shape[2] / (grid[0] * grid[1])
    return F.adaptive_avg_pool2d(planes, grid).flatten(2) * cells


def subjects(predicates: Sequence[str], names: Sequence[str]) -> Tensor:
    """Index of the part that each predicate is about, int64 `[P]`; -1 for none."""
    found = [_subject(Fact.parse(name)) for name in predicates]
    return torch.tensor([names.index(s) if s in names else -1 for s in found], dtype=torch.int64)


def parts_of(fact: Fact) -> tuple[str, ...]:
    """Names of the parts that show whether a fact holds, the one it is about first."""
    if fact.relation in GRIPPER_RELATIONS and fact.arguments == ('something',):
        return ('gripper',)
    return fact.arguments[::-1] if fact.relation == 'contact' else fact.arguments


def _subject(fact: Fact) -> str:
    return next(iter(parts_of(fact)), '')


def naming_loss(regions: Regions, names: Tensor, *, scale: Tensor) -> Tensor:
    """Cross-entropy of each visible part over the names `[V, D]` of all parts; scalar."""
    where, which = regions.present.nonzero(as_tuple=True)
    if not len(where):
        return names.new_zeros(())
    return F.cross_entropy(scale * regions.vectors[where, which] @ names.T, which)


def region_fact_loss(
    regions: Regions,
    contrasts: Tensor,
    *,
    subject: Tensor,
    truth: Tensor,
    weights: Tensor,
    scale: Tensor,
) -> Tensor:
    """Logistic loss that prefers the true wording of every fact about a visible part; scalar.

    Args:
        regions: Named parts of the batch.
        contrasts: Positive minus negative wording, `[P, D]`, unit length.
        subject: Index of the part each fact is about, `[P]`, -1 for none.
        truth: `[B, P]`; 1 true, 0 false, -1 unknown (ignored).
        weights: `[B, P]`.
        scale: Logit scale (exponentiated), scalar.
    """
    about = subject.clamp(min=0)
    usable = (truth >= 0) & (subject >= 0) & regions.present[:, about]
    where, which = usable.nonzero(as_tuple=True)
    if not len(where):
        return contrasts.new_zeros(())
    logits = scale * (regions.vectors[where, about[which]] * contrasts[which]).sum(-1)
    losses = F.binary_cross_entropy_with_logits(
        logits, truth[where, which].float(), reduction='none'
    )
    shares = weights[where, which]
    return (losses * shares).sum() / shares.sum().clamp(min=1e-6)


def pool_regions(tokens: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean token of every part, weighted by the number of its cells in each patch.

    Args:
        tokens: Patch tokens `[B, T, width]`.
        shares: `[B, V, T]` (see `region_shares`).

    Returns:
        `[B, V, width]`, and bool `[B, V]`: whether enough of the part is visible.
    """
    mass = shares.sum(-1, keepdim=True)
    weights = shares / mass.clamp(min=1e-6)
    return torch.bmm(weights.to(tokens.dtype), tokens), (mass >= MIN_CELLS).squeeze(-1)
