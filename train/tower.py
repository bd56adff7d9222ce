"""What a recipe trains, of any family: inputs to unit vectors, and what learns of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from encoders.encoder import Encoder, EncoderSet, TextTower
from encoders.languagebind.released import LanguageBindEncoder
from encoders.mini import MiniEncoder
from encoders.model_set import Manifest, ModelSet, load_model_set, save_model_set
from encoders.sources import Source, find_set, load_encoders
from encoders.vit import Adapter, Trunk
from train.languagebind import LOGIT_SCALE_MAX, Lora
from train.languagebind_set import released_start, save_languagebind, unreleased_tower

TUNINGS = ('lora', 'full', 'probe')
PROBED = re.compile(r'(visual_projection|\bprojection)\.weight$')
NEVER_DECAYED = ('class_embedding', 'patch_embedding', 'logit_scale')


@dataclass(frozen=True, slots=True)
class Tower:
    """One modality in training.

    Attributes:
        modality: Its name.
        module: `(inputs, kept=...)` to vectors `[B, D]` of unit length.
        logit_scale: Its parameter, in logarithms.
        patches: Patches of one input, for the mask.
        preprocess: A raw sample to an input without batch dimension.
        layers: Blocks of the transformer.
    """

    modality: str
    module: nn.Module
    logit_scale: nn.Parameter
    patches: int
    preprocess: Callable[[Any], Tensor]
    layers: Sequence[nn.Module]

    def named_learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that learn, by name."""
        return ((n, p) for n, p in self.module.named_parameters() if p.requires_grad)

    def learning(self) -> list[nn.Parameter]:
        """Parameters that learn."""
        return [parameter for _, parameter in self.named_learning()]

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keep the logit scale in 0..ln 100 (CLIP, section 2.5)."""
        self.logit_scale.clamp_(0, LOGIT_SCALE_MAX)

    @property
    def temperature(self) -> float:
        """What cosines are divided by."""
        return math.exp(-float(self.logit_scale.detach()))


@dataclass(frozen=True)
class TrainedSet:
    """Towers that learn, the frozen text tower they are bound to, and how to write the result."""

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
    """Load the encoders a training starts from and mark what learns.

    Args:
        start: As `encoders.Binder.load` takes it.
        modalities: Which encoders learn; the others are left out of the result.
        tuning: `lora`: low-rank updates of the attention, class token, last LayerNorm, projection
            and temperature, as LanguageBind; `full`: the attention itself instead of updates;
            `probe`: projection and temperature alone.
        lora: Of the low-rank updates.
        temperature: Where the temperature starts; where it is, if None.
        learn_temperature: Whether it moves.

    Raises:
        ModelSetError, SpaceError, KeyError: As `encoders.Binder.load`.
        ValueError: The tuning is unknown, or this kind of set cannot be trained.
    """
    if tuning not in TUNINGS:
        raise ValueError(f'unknown tuning {tuning!r}, expected {", ".join(TUNINGS)}')
    found = load_encoders(start, modalities=modalities)
    kinds = {type(found.encoders[name]) for name in modalities}
    if kinds == {LanguageBindEncoder}:
        trained = _languagebind(start, found, modalities, tuning, lora)
    elif kinds == {MiniEncoder}:
        assert not isinstance(start, Mapping)
        trained = _mini(find_set(start), found, modalities, tuning, lora)
    else:
        raise ValueError(f'{start}: encoders of this kind cannot be trained')
    for tower in trained.towers.values():
        if tuning == 'probe':
            for name, parameter in tower.module.named_parameters():
                parameter.requires_grad_(bool(PROBED.search(name)))
        tower.logit_scale.requires_grad_(learn_temperature)
        if temperature is not None:
            with torch.no_grad():
                tower.logit_scale.fill_(-math.log(temperature))
    return trained


def parameter_groups(towers: Mapping[str, Tower], *, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, vectors, class tokens and temperatures do not.

    What several towers share is there once.
    """
    decayed: dict[int, nn.Parameter] = {}
    plain: dict[int, nn.Parameter] = {}
    for tower in towers.values():
        for name, parameter in tower.named_learning():
            free = parameter.ndim < 2 or any(part in name for part in NEVER_DECAYED)
            (plain if free else decayed)[id(parameter)] = parameter
    return [
        {'params': list(decayed.values()), 'weight_decay': weight_decay},
        {'params': list(plain.values()), 'weight_decay': 0.0},
    ]


def checkpoint_layers(tower: Tower) -> None:
    """Keep no activations inside blocks: they are computed again on the way back."""
    for layer in tower.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _input(encoder: Encoder, raw: Any) -> Tensor:
    return encoder.preprocess(raw)[0]


def _languagebind(
    start: Source, found: EncoderSet, modalities: Sequence[str], tuning: str, lora: Lora
) -> TrainedSet:
    towers = {}
    begun = released_start(start, found, modalities)
    for name in modalities:
        encoder = found.encoders[name]
        assert isinstance(encoder, LanguageBindEncoder)
        module = unreleased_tower(begun[name], lora=lora if tuning == 'lora' else None)
        towers[name] = Tower(
            modality=name,
            module=module,
            logit_scale=module.logit_scale,
            patches=module.config.patches,
            preprocess=partial(_input, encoder),
            layers=list(module.encoder.layers),
        )

    def save(folder: Path, name: str, provenance: Mapping[str, Any]) -> Path:
        modules = {m: tower.module for m, tower in towers.items()}
        return save_languagebind(
            folder, begun, modules, name=name, lora=lora if tuning == 'lora' else None,
            provenance=provenance,
        )  # fmt: skip

    return TrainedSet(towers, found.text, save)


class TrunkAndAdapter(nn.Module):
    """An encoder of a small set as one module."""

    def __init__(self, trunk: Trunk, adapter: Adapter) -> None:
        super().__init__()
        self.trunk, self.adapter = trunk, adapter

    def forward(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """`[B, 3, H, W]` to unit vectors `[B, D]`; `kept` are the patches that stay, `[B, K]`."""
        if kept is None:
            whole: Tensor = self.trunk(inputs, self.adapter)
            return whole
        trunk, adapter = self.trunk, self.adapter
        embed = trunk.patch_embedding if adapter.stem is None else adapter.stem
        assert embed is not None
        patches = embed(inputs).flatten(2).transpose(1, 2)
        own = adapter.position_embedding
        positions = trunk.position_embedding if own is None else own
        patches = patches + positions[1:]
        patches = patches.gather(1, kept.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        first = (adapter.class_embedding + positions[0]).expand(len(patches), 1, -1)
        tokens = trunk.pre_layernorm(torch.cat([first, patches], dim=1))
        for index, block in enumerate(trunk.blocks):
            tokens = block(tokens, adapter.lora[index] if len(adapter.lora) else None)
        return F.normalize(adapter.embed(tokens[:, 0]), dim=-1)


def _mini(
    folder: Path, found: EncoderSet, modalities: Sequence[str], tuning: str, lora: Lora
) -> TrainedSet:
    earlier = load_model_set(folder)
    rank = lora.rank if tuning == 'lora' else 0
    specs = {
        name: replace(
            earlier.manifest.modalities[name],
            lora_rank=rank or earlier.manifest.modalities[name].lora_rank,
            lora_alpha=lora.alpha if rank else earlier.manifest.modalities[name].lora_alpha,
        )
        for name in modalities
    }
    manifest = replace(earlier.manifest, modalities=specs)
    adapters = {name: _adapter(manifest, earlier, name) for name in modalities}
    trunk = earlier.trunk
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(tuning == 'full' and '.attention.' in name)
    for adapter in adapters.values():
        for name, parameter in adapter.named_parameters():
            parameter.requires_grad_(not name.startswith(('stem.', 'position_embedding')))
    towers = {}
    for name, adapter in adapters.items():
        encoder = found.encoders[name]
        own = adapter.position_embedding
        positions = trunk.position_embedding if own is None else own
        towers[name] = Tower(
            modality=name,
            module=TrunkAndAdapter(trunk, adapter).train(),
            logit_scale=adapter.logit_scale,
            patches=len(positions) - 1,
            preprocess=partial(_input, encoder),
            layers=list(trunk.blocks),
        )

    def save(out: Path, name: str, provenance: Mapping[str, Any]) -> Path:
        described = replace(manifest, name=name, provenance=dict(provenance))
        save_model_set(out, ModelSet(described, trunk, adapters), dtype=torch.float32)
        return out

    return TrainedSet(towers, found.text, save)


def _adapter(manifest: Manifest, earlier: ModelSet, name: str) -> Adapter:
    spec = manifest.modalities[name]
    adapter = Adapter(
        manifest.vit, grid=spec.grid, lora_rank=spec.lora_rank, lora_alpha=spec.lora_alpha
    )
    before = earlier.manifest.modalities[name].lora_rank
    if before not in (0, spec.lora_rank):
        raise ValueError(f'{name}: has low-rank updates of rank {before}, not {spec.lora_rank}')
    adapter.load_state_dict(
        earlier.adapters[name].state_dict(), strict=before > 0 or not spec.lora_rank
    )
    return adapter
