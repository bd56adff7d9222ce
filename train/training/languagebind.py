"""Trainable parts of a tower as in LanguageBind (Zhu et al., ICLR 2024), with its released names.

The low-rank updates are modules of peft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from encoders.languagebind.released import released_name
from encoders.vision.config import VisionConfig
from encoders.vision.vit import OWN, VisionTower
from train.validated import STRICT, Share

TEMPORAL = ('temporal_embedding', 'temporal_layer_norm1.')
NEVER_DECAYED = ('class_embedding', 'patch_embedding', 'logit_scale')
PEFT = 'encoder.base_model.model.'
UPDATES = ('.lora_A', '.lora_B')


@dataclass(frozen=True, slots=True, config=STRICT)
class Lora:
    """Low-rank updates; published ranks are 2 (depth, infrared), 8 or 16 (audio), 16 (video)."""

    rank: PositiveInt
    alpha: PositiveFloat = 16.0
    dropout: Share = 0.0
    targets: tuple[str, ...] = ('q_proj', 'k_proj', 'v_proj', 'out_proj')


def trainable_tower(
    config: VisionConfig, tensors: Mapping[str, Tensor], *, lora: Lora | None, where: str
) -> VisionTower:
    """Create a tower in training mode in which only the trainable parameters require gradients.

    Frozen parameters stay in the memory of `tensors`, so that encoders with a shared trunk
    continue to share it; trainable parameters are copied.

    Args:
        config: Shape of the tower, with the rank of the low-rank updates among `tensors`.
        tensors: Initial values, by name in `VisionTower`.
        lora: Train low-rank updates of the attention; None trains the attention itself, after
            merging the initial updates into it.
        where: Name of the start in errors.

    Raises:
        ValueError: The start has low-rank updates of another rank or of other targets.
    """
    rank = config.lora_rank
    if rank and lora is None:
        tensors = merged(tensors, alpha=config.lora_alpha)
    elif rank and lora is not None and lora.rank != rank:
        raise ValueError(
            f'{where}: has low-rank updates of rank {rank}; merge them first, or set rank: {rank}'
        )
    own = {k: v.float() for k, v in tensors.items() if not k.endswith(UPDATES)}
    tower = VisionTower(replace(config, lora_rank=0))
    tower.load_state_dict(own, strict=True, assign=True)
    if lora is not None:
        _add_lora(tower, lora)
        if rank:
            learned = {k: v for k, v in tensors.items() if k not in own}
            named = {f'{k}.default.weight': v for k, v in learned.items()}
            odd = tower.load_state_dict(named, strict=False).unexpected_keys
            for name in odd:
                if named[name].any() and '.lora_B.' in name:
                    raise ValueError(f'{where}: {name} has learned; add it to the targets')
    attention = 'temporal_' if tower.config.temporal else 'self_attn.'
    chosen = ('.lora_', *TEMPORAL) if lora is not None else (attention,)
    for name, parameter in tower.named_parameters():
        learns = name.startswith(OWN) or any(part in name for part in chosen)
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.clone()
    return tower.train()


def merged(tensors: Mapping[str, Tensor], *, alpha: float) -> dict[str, Tensor]:
    """Merge the low-rank updates of a tower into its weights: `W + alpha / r * B A`."""
    plain = {k: v for k, v in tensors.items() if not k.endswith(UPDATES)}
    for name, down in tensors.items():
        if name.endswith('.lora_A'):
            stem = name.removesuffix('.lora_A')
            update = tensors[f'{stem}.lora_B'].float() @ down.float()
            plain[f'{stem}.weight'] = plain[f'{stem}.weight'].float() + alpha / len(down) * update
    return plain


def released_tensors(tower: VisionTower, text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary in LanguageBind's released format, with the frozen text tower."""
    tensors = tower.state_dict()
    adapted = any('.lora_A.' in name for name in tensors)
    own = {}
    for name, tensor in tensors.items():
        plain = name.replace('.base_layer.', '.')
        if adapted and plain.startswith('encoder.'):
            plain = plain.replace('encoder.', PEFT, 1)
        own[released_name(plain)] = tensor.detach()
    return {**own, **text}


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
