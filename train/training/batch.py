"""Batches of language pairs of one modality."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.model_sets.encoder import TextTower
from encoders.vision.vit import draw_kept_patches
from train.pairs.data import PairData
from train.pairs.record import decode
from train.training.ranks import Ranks
from train.training.tower import Tower


@dataclass(frozen=True, slots=True)
class PairBatch:
    """This process's part of a batch of one modality.

    Attributes:
        inputs: float32 `[B, ...]`, input of the tower.
        kept: int64 `[B, K]`, patches that are not dropped; None for all.
        texts: float32 `[B, D]`, unit length, embedding of the sentence drawn for each sample.
        sentences: `[B]`, the drawn sentences.
        true_sentences: `[B]`, all sentences true of each sample, including the drawn one.
    """

    inputs: Tensor
    kept: Tensor | None
    texts: Tensor
    sentences: Sequence[str]
    true_sentences: Sequence[frozenset[str]]


def draw_batch(
    data: PairData,
    tower: Tower,
    text: TextTower,
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
    chosen = data.order(tower.modality, step, batch=batch, seed=seed)
    mine = slice(ranks.rank * share, (ranks.rank + 1) * share)
    pairs = [data.source.read(int(index)) for index in chosen[mine]]
    known = [data.sentences(pair) for pair in pairs]
    drawn = [
        random.Random(f'{seed}:{step}:{pair.key}').choice(sentences)
        for pair, sentences in zip(pairs, known, strict=True)
    ]
    kept = None
    if patch_dropout > 0:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        kept = draw_kept_patches(batch, tower.patches, patch_dropout, generator=generator)[mine]
    inputs = [tower.preprocess(decode(tower.modality, pair.files)) for pair in pairs]
    return PairBatch(
        inputs=torch.stack(inputs),
        kept=kept,
        # One by one: the last digits of an embedding depend on the other sentences of its batch,
        # which differ after a resumption.
        texts=torch.from_numpy(np.concatenate([text.embed([s]) for s in drawn])).to(ranks.device),
        sentences=drawn,
        true_sentences=[frozenset(sentences) for sentences in known],
    )
