"""Gradients of a large batch, computed in micro-batches: features first, then their gradients.

GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited
setup"): embed all micro-batches without a graph, compute the gradient of the loss with respect to
every embedding, then embed again with a graph, one micro-batch at a time. The result equals that
of the whole batch at once. Embeddings of other processes take part in the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.vision.precision import dtype_of
from train.training.batch import PairBatch
from train.training.loss import contrastive_loss
from train.training.ranks import Ranks, add_gradients, gathered, gathered_objects
from train.training.tower import Tower


def backpropagate(
    tower: Tower,
    batch: PairBatch,
    *,
    micro_batch: int,
    ranks: Ranks,
    precision: str = 'fp32',
    scaler: torch.amp.GradScaler | None = None,
    seed: int = 0,
) -> float:
    """Add the gradients of the global batch to the tower's parameters; return its loss.

    Args:
        tower: The tower in training.
        batch: This process's part; all processes have the same number of samples.
        micro_batch: Number of samples embedded with a graph at once.
        ranks: All processes.
        precision: Precision of the tower, as of `dtype_of`.
        scaler: Scaler of the loss, for fp16.
        seed: Seed of dropout inside the tower; different for every step.
    """
    count = len(batch.inputs)
    pieces = [slice(k, min(count, k + micro_batch)) for k in range(0, count, micro_batch)]
    once = len(pieces) == 1
    with torch.set_grad_enabled(once):
        parts = [_embed(tower, batch, piece, precision, ranks, seed) for piece in pieces]
    own = torch.cat(parts)
    everything = gathered(own.detach(), ranks).requires_grad_()
    loss = contrastive_loss(
        everything,
        gathered(batch.targets, ranks),
        matches=matches(batch, ranks).to(everything.device),
        known=torch.ones(len(everything), len(everything), dtype=torch.bool, device=own.device),
        scale=tower.logit_scale.exp(),
    )
    if not torch.isfinite(loss):
        return float(loss.detach())
    scaled = loss if scaler is None else scaler.scale(loss)
    torch.autograd.backward(scaled)
    assert everything.grad is not None
    first = ranks.rank * count
    for number, piece in enumerate(pieces):
        vectors = parts[number] if once else _embed(tower, batch, piece, precision, ranks, seed)
        torch.autograd.backward(vectors, everything.grad[first + piece.start : first + piece.stop])
    # Every process computes the whole loss, so the temperature's gradient is already complete.
    shared = [p for p in tower.learning() if p is not tower.logit_scale]
    add_gradients(shared, ranks)
    return float(loss.detach())


def matches(batch: PairBatch, ranks: Ranks) -> Tensor:
    """Whether each label is true of each sample, over all processes: bool `[N, N]`."""
    true_of = gathered_objects(batch.true_labels, ranks)
    labels = gathered_objects(batch.labels, ranks)
    return torch.tensor([[label in own for label in labels] for own in true_of])


def _embed(
    tower: Tower, batch: PairBatch, piece: slice, precision: str, ranks: Ranks, seed: int
) -> Tensor:
    # Dropout must drop the same elements in both passes.
    torch.manual_seed(hash((seed, ranks.rank, piece.start)) % 2**63)
    inputs = batch.inputs[piece].to(ranks.device)
    kept = None if batch.kept is None else batch.kept[piece].to(ranks.device)
    dtype = dtype_of(precision, device=ranks.device)
    with torch.autocast(ranks.device.type, dtype, enabled=dtype != torch.float32):
        vectors: Tensor = tower.module(inputs, kept=kept)
    return nn.functional.normalize(vectors.float(), dim=-1)
