"""Towers in training, for model sets of any family."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from encoders.model_sets.encoder import Encoder, TextTower
from encoders.model_sets.sources import Source, load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.vision.vit import LOGIT_SCALE_MAX, VisionTower
from train.training.languagebind import NEVER_DECAYED, Lora, trainable_tower
from train.training.trained_set import save_trained, text_of

TUNINGS = ('lora', 'full', 'probe')
PROBED = ('visual_projection.weight',)


@dataclass(frozen=True, slots=True)
class Tower:
    """One modality in training.

    Attributes:
        modality: Name of the modality.
        module: Maps `(inputs, kept=...)` to vectors `[B, D]` of unit length.
        logit_scale: Logarithm of the logit scale, a parameter of `module`.
        patches: Number of patches of one input, for patch dropout.
        preprocess: Converts a raw sample to an input without batch dimension.
        layers: Blocks of the transformer.
    """

    modality: str
    module: nn.Module
    logit_scale: nn.Parameter
    patches: int
    preprocess: Callable[[Any], Tensor]
    layers: Sequence[nn.Module]

    def named_learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters, by name."""
        return ((n, p) for n, p in self.module.named_parameters() if p.requires_grad)

    def learning(self) -> list[nn.Parameter]:
        """Trainable parameters."""
        return [parameter for _, parameter in self.named_learning()]

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Clamp the logarithm of the logit scale to 0..ln 100 (CLIP, section 2.5)."""
        self.logit_scale.clamp_(0, LOGIT_SCALE_MAX)

    @property
    def temperature(self) -> float:
        """Divisor of the cosines."""
        return math.exp(-float(self.logit_scale.detach()))


@dataclass(frozen=True)
class TrainedSet:
    """Towers in training, the frozen text tower, and a function that writes the result."""

    towers: Mapping[str, Tower]
    text: TextTower
    save: Callable[[Path, str, Mapping[str, Any]], Path]


def open_towers(
    start: Source,
    modalities: Sequence[str],
    *,
    tuning: str,
    lora: Lora,
    temperature: float | None = None,
    learn_temperature: bool = True,
) -> TrainedSet:
    """Load the encoders that a training starts from and select the trainable parameters.

    Args:
        start: Source of the encoders, as for `encoders.Binder.load`.
        modalities: Encoders to train; the others are left out of the result.
        tuning: `lora`: low-rank updates of the attention, class token, last LayerNorm, projection
            and temperature, as in LanguageBind; `full`: the attention itself instead of updates;
            `probe`: projection and temperature alone.
        lora: Configuration of the low-rank updates.
        temperature: Initial temperature; None keeps that of the start.
        learn_temperature: Whether the temperature is trained.

    Raises:
        ModelSetError, SpaceError, KeyError: As in `encoders.Binder.load`.
        ValueError: The tuning is unknown, or this kind of set cannot be trained.
    """
    if tuning not in TUNINGS:
        raise ValueError(f'unknown tuning {tuning!r}, expected {", ".join(TUNINGS)}')
    found = load_encoders(start, modalities=modalities)
    described, words = text_of(start, found.text)
    encoders: dict[str, TowerEncoder] = {}
    towers: dict[str, Tower] = {}
    for name in modalities:
        encoder = found.encoders[name]
        if not isinstance(encoder, TowerEncoder):
            raise ValueError(f'{start}: the encoder of {name} is of a kind that is not trained')
        encoders[name] = encoder
        module = _learning(encoder, start, name, tuning, lora)
        module.logit_scale.requires_grad_(learn_temperature)
        if temperature is not None:
            with torch.no_grad():
                module.logit_scale.fill_(-math.log(temperature))
        towers[name] = _tower(name, encoder, module=module)

    def save(folder: Path, name: str, provenance: Mapping[str, Any]) -> Path:
        modules = {m: tower.module for m, tower in towers.items()}
        return save_trained(
            folder,
            modules,
            encoders,
            name=name,
            space=found.text.space,
            text=(described, words),
            lora=lora if tuning == 'lora' else None,
            provenance=provenance,
        )

    return TrainedSet(towers, found.text, save)


def parameter_groups(
    learning: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay for matrices, none for vectors, class tokens, temperatures."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in learning:
        free = parameter.ndim < 2 or any(part in name for part in NEVER_DECAYED)
        (plain if free else decayed).append(parameter)
    return [
        {'params': decayed, 'weight_decay': weight_decay},
        {'params': plain, 'weight_decay': 0.0},
    ]


def checkpoint_layers(tower: Tower) -> None:
    """Enable gradient checkpointing: recompute the activations of blocks in the backward pass."""
    for layer in tower.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _learning(
    encoder: TowerEncoder, start: Source, modality: str, tuning: str, lora: Lora
) -> VisionTower:
    where = str(start[modality] if isinstance(start, Mapping) else start)
    module = trainable_tower(
        encoder.tower.config,
        encoder.tower.state_dict(),
        lora=lora if tuning == 'lora' else None,
        where=where,
    )
    if tuning == 'probe':
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in PROBED)
    return module


def _tower(modality: str, encoder: TowerEncoder, *, module: VisionTower) -> Tower:
    return Tower(
        modality=modality,
        module=module,
        logit_scale=module.logit_scale,
        patches=module.config.patches,
        preprocess=partial(_input, encoder),
        layers=list(module.encoder.layers),
    )


def _input(encoder: Encoder, raw: Any) -> Tensor:
    return encoder.preprocess(raw)[0]
