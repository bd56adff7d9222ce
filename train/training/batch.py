"""Batches of pairs of one modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.vision.vit import draw_kept_patches
from train.pairs.data import PairData
from train.pairs.record import decode
from train.training.hub import Hub
from train.training.ranks import Ranks
from train.training.tower import Tower


@dataclass(frozen=True, slots=True)
class PairBatch:
    """This process's part of a batch of one modality.

    Attributes:
        inputs: float32 `[B, ...]`, input of the tower.
        kept: int64 `[B, K]`, patches that are not dropped; None for all.
        targets: float32 `[B, D]`, unit length, the vector of the hub for each sample: that of a
            sentence or of an image.
        labels: `[B]`, what the vectors stand for (see `train.training.hub.Bound`).
        true_labels: `[B]`, all labels that are true of each sample, including its own.
    """

    inputs: Tensor
    kept: Tensor | None
    targets: Tensor
    labels: Sequence[str]
    true_labels: Sequence[frozenset[str]]


def draw_batch(
    data: PairData,
    tower: Tower,
    hub: Hub,
    *,
    step: int,
    batch: int,
    patch_dropout: float,
    seed: int,
    ranks: Ranks,
) -> PairBatch:
    """Draw this process's part of the batch of a step; the whole batch is the same for any count.

    Raises:
        ValueError: There are too few pairs, or the batch does not divide among the processes.
    """
    if batch % ranks.count:
        raise ValueError(f'a batch of {batch} does not divide among {ranks.count} processes')
    share = batch // ranks.count
    chosen = data.order(tower.modality, step, batch=batch, seed=seed, hub=hub.name)
    mine = slice(ranks.rank * share, (ranks.rank + 1) * share)
    numbers = [int(number) for number in chosen[mine]]
    pairs = [data.source.read(number) for number in numbers]
    bound = hub.bound(numbers, pairs, draw=f'{seed}:{step}')
    kept = None
    if patch_dropout > 0:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        kept = draw_kept_patches(batch, tower.patches, patch_dropout, generator=generator)[mine]
    inputs = [tower.preprocess(decode(tower.modality, pair.files)) for pair in pairs]
    return PairBatch(
        inputs=torch.stack(inputs),
        kept=kept,
        targets=bound.vectors.to(ranks.device),
        labels=bound.labels,
        true_labels=bound.true_labels,
    )
