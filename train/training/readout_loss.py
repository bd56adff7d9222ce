"""The loss of a batch of questions to a readout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.vision.readout import Queries, Readout
from train.training.readout_batch import Questions

MIN_MASS = 1e-4


def question_loss(
    readout: Readout,
    questions: Questions,
    tokens: Tensor,
    *,
    mine: slice,
    rival_weight: float,
    attention_weight: float,
    bf16: bool,
) -> Tensor:
    """The part of the loss of a batch that belongs to some of its samples, scalar.

    Args:
        readout: The readout in training.
        questions: The whole batch.
        tokens: Tokens of the samples `mine`, float `[b, N, token_width]`.
        mine: Which samples of the batch they are.
        rival_weight: Weight of the part that ranks true facts before their rivals.
        attention_weight: Weight of the attention's part.
        bf16: Whether matrix products are computed in bfloat16.
    """
    device = tokens.device
    own = questions.asked[mine]
    used, asked = own.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        queries = readout.ask(
            questions.positive[used].to(device), questions.negative[used].to(device)
        )
        asked = asked.to(device)
        each = Queries(queries.states[asked], queries.directions[asked])
        log_odds, attention = readout(readout.reduce(tokens), each)
    log_odds, truth = log_odds.float(), questions.truth[mine].to(device)
    weights, facts = questions.weights[mine].to(device), truth.shape[1] - questions.listed.shape[1]
    losses = F.binary_cross_entropy_with_logits(
        log_odds[:, :facts], truth[:, :facts], reduction='none'
    )
    loss: Tensor = (losses * weights).sum() / (len(questions.truth) * facts)
    if questions.listed.any():
        loss = loss + rival_weight * rival_loss(
            log_odds[:, facts:], questions.listed[mine].to(device)
        ) / questions.listed.any(1).sum().to(device)
    if questions.targets is None or not attention_weight:
        return loss
    visible = questions.targets.any(-1)
    targets, shown = questions.targets[mine].to(device), visible[mine].to(device)
    mass = (attention[:, :2, :, 1:].float() * targets).sum(-1)
    missed = (-(mass + MIN_MASS).log() * shown).sum() / visible.sum().clamp(min=1).to(device)
    total: Tensor = loss + attention_weight * missed
    return total


def rival_loss(log_odds: Tensor, listed: Tensor) -> Tensor:
    """Sum of the cross-entropies with which the first fact of each list is the true one, scalar.

    Args:
        log_odds: float `[B, L]`.
        listed: Facts that are in the list, bool `[B, L]`; all false for no list.
    """
    lists = log_odds[listed[:, 0]].masked_fill(~listed[listed[:, 0]], -torch.inf)
    return F.cross_entropy(
        lists, torch.zeros_like(lists[:, 0], dtype=torch.int64), reduction='sum'
    )
