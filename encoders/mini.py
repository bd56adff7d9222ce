"""Encoders of a small model set: one adapter each, all on one trunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.calibration import Calibration
from encoders.encoder import EncoderSet, no_encoder
from encoders.model_set import load_model_set
from encoders.preprocess import Config, preprocess
from encoders.space import SpaceError
from encoders.text_tower import text_tower
from encoders.vit import Adapter, Trunk


@dataclass(frozen=True, slots=True)
class MiniEncoder:
    """One modality of a small model set (see `encoders.encoder.Encoder`)."""

    modality: str
    config: Config
    trunk: Trunk
    adapter: Adapter

    @property
    def logit_scale(self) -> float:
        """The factor its cosines were trained with."""
        return float(self.adapter.logit_scale.detach().float().exp())

    def preprocess(self, raw: Any) -> tuple[Tensor, float]:
        """float32 `[3, H, W]` and the valid share."""
        return preprocess(self.modality, raw, self.config)

    def encode(self, inputs: Tensor) -> Tensor:
        """Unit vectors `[B, D]` of inputs `[B, 3, H, W]`."""
        on_device = inputs.to(self.trunk.position_embedding)
        vectors: Tensor = self.trunk(on_device, self.adapter)
        return vectors


def load_mini(
    folder: Path,
    *,
    modalities: Sequence[str] | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load a set of manifest format 1.

    Raises:
        ModelSetError: It is damaged.
        KeyError: It has no encoder for one of `modalities`.
        SpaceError: It was bound to another text tower than the one there is.
    """
    model_set = load_model_set(folder)
    manifest = model_set.manifest
    tower = text_tower(manifest.text_tower)
    if tower.space != manifest.space:
        raise SpaceError(
            f'model set {manifest.name} is bound to {manifest.space}, '
            f'but this text tower is {tower.space}'
        )
    trunk = model_set.trunk.to(device, dtype)
    encoders = {}
    for name in modalities or manifest.modalities:
        if name not in manifest.modalities:
            raise no_encoder(name, manifest.name, manifest.modalities)
        adapter = model_set.adapters[name].to(device, dtype)
        spec = manifest.modalities[name]
        encoders[name] = MiniEncoder(name, spec.preprocess, trunk, adapter)
    shared = _nbytes(trunk)
    return EncoderSet(
        name=manifest.name,
        encoders=encoders,
        text=tower,
        held_bytes=shared + sum(_nbytes(encoder.adapter) for encoder in encoders.values()),
        saved_bytes=shared * (len(encoders) - 1),
        calibration=Calibration.load_if_present(folder),
    )


def _nbytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())
