"""LanguageBind's own training step: which tensors learn, their decay, the loss, one update.

The recipe of Zhu et al. (ICLR 2024) as its code runs it; the text tower is frozen, so sentences
come as vectors. peft holds the low-rank updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.languagebind.released import ReleasedTensors, released_name
from encoders.vision.vit import LOGIT_SCALE_MAX, OWN, VisionTower, draw_kept_patches

TEMPORAL = ('temporal_embedding', 'temporal_layer_norm1.')
NEVER_DECAYED = ('class_embedding', 'patch_embedding', 'logit_scale')
PEFT = 'encoder.base_model.model.'


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank updates: published are rank 2 (depth, infrared), 8 or 16 (audio), 16 (video)."""

    rank: int
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ('q_proj', 'k_proj', 'v_proj', 'out_proj')


def trainable_tower(found: ReleasedTensors, *, lora: Lora | None) -> VisionTower:
    """A tower to train, what learns of it marked, in training mode.

    What does not learn lies in the memory of the start's own tensors, so that encoders which share
    a trunk go on sharing it; what learns is copied.

    Args:
        found: Where it starts. Its low-rank updates go on if it has any of the same rank.
        lora: Train low-rank updates of the attention; None trains the attention itself.

    Raises:
        ValueError: The start has low-rank updates of another rank than asked for.
    """
    updates = ('.lora_A', '.lora_B')
    own = {k: v.float() for k, v in found.vision.items() if not k.endswith(updates)}
    rank = found.config.vision.lora_rank
    if rank and (lora is None or lora.rank != rank):
        raise ValueError(f'{found.path}: has low-rank updates of rank {rank}; merge them first')
    tower = VisionTower(replace(found.config.vision, lora_rank=0))
    tower.load_state_dict(own, strict=True, assign=True)
    if lora is not None:
        _add_lora(tower, lora)
        if rank:
            learned = {k: v for k, v in found.vision.items() if k not in own}
            named = {f'{k}.default.weight': v for k, v in learned.items()}
            odd = tower.load_state_dict(named, strict=False).unexpected_keys
            for name in odd:
                if named[name].any() and '.lora_B.' in name:
                    raise ValueError(f'{found.path}: {name} has learned; add it to the targets')
    attention = 'temporal_' if tower.config.temporal else 'self_attn.'
    chosen = ('.lora_', *TEMPORAL) if lora is not None else (attention,)
    for name, parameter in tower.named_parameters():
        learns = name.startswith(OWN) or any(part in name for part in chosen)
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.clone()
    return tower.train()


def parameter_groups(tower: nn.Module, *, weight_decay: float = 0.2) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, vectors, class tokens and the temperature do not."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in tower.named_parameters():
        if parameter.requires_grad:
            free = parameter.ndim < 2 or any(part in name for part in NEVER_DECAYED)
            (plain if free else decayed).append(parameter)
    return [
        {'params': decayed, 'weight_decay': weight_decay},
        {'params': plain, 'weight_decay': 0.0},
    ]


def optimizer(tower: nn.Module, *, learning_rate: float) -> torch.optim.AdamW:
    """AdamW as LanguageBind sets it; one rate for all, whatever its scripts' `coef-lr` says."""
    groups = parameter_groups(tower)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6)


def symmetric_loss(vectors: Tensor, texts: Tensor, *, scale: Tensor) -> Tensor:
    """Mean of both cross-entropies over all pairs (InfoNCE; Radford et al. 2021, figure 3).

    Args:
        vectors: float `[B, D]`, unit length.
        texts: float `[B, D]`, unit length, the sentence of each.
        scale: Scalar, the exponential of the learned one.
    """
    logits = scale * vectors @ texts.T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def training_step(
    tower: VisionTower,
    updates: torch.optim.Optimizer,
    inputs: Tensor,
    texts: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> float:
    """One update; returns the loss before it.

    Args:
        tower: See `trainable_tower`.
        updates: See `optimizer`.
        inputs: float `[B, 3, H, W]`, or with frames; a share of their patches is left out, as
            the tower's configuration says.
        texts: float `[B, D]`, unit length.
        generator: Of the patches that stay.
    """
    config = tower.config
    kept = None
    if config.patch_dropout > 0:
        kept = draw_kept_patches(
            len(inputs), config.patches, config.patch_dropout, generator=generator
        ).to(inputs.device)
    updates.zero_grad(set_to_none=True)
    loss = symmetric_loss(tower(inputs, kept=kept), texts, scale=tower.logit_scale.exp())
    loss.backward()  # type: ignore[no-untyped-call]
    updates.step()
    with torch.no_grad():
        tower.logit_scale.clamp_(0, LOGIT_SCALE_MAX)
    return float(loss.detach())


def released_tensors(tower: VisionTower, text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary as LanguageBind releases it, with the frozen text tower."""
    own = {name: tensor.detach() for name, tensor in _released(tower, tower.state_dict())}
    return {**own, **text}


def released_parameters(tower: VisionTower) -> dict[str, Tensor]:
    """Parameters that learn, by their released names."""
    learning = {n: p for n, p in tower.named_parameters() if p.requires_grad}
    return dict(_released(tower, learning))


def _released(tower: VisionTower, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    adapted = any('.lora_A.' in name for name, _ in tower.named_parameters())
    for name, tensor in tensors.items():
        plain = name.replace('.base_layer.', '.')
        if adapted:
            plain = plain.replace('encoder.', PEFT, 1) if plain.startswith('encoder.') else plain
        yield released_name(plain), tensor


def _add_lora(tower: VisionTower, lora: Lora) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    where = 'temporal_attn' if tower.config.temporal else 'self_attn'
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias='none',
        target_modules=rf'.*\.{where}\.({"|".join(lora.targets)})',
    )
    inject_adapter_in_model(config, tower.encoder)
