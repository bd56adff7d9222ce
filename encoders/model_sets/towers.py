"""Vision towers as encoders, with parameters from a shared pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from encoders.model_sets.sharing import TensorPool
from encoders.preprocess import Config, preprocess
from encoders.preprocess.columns import Columns
from encoders.transformer import unfilled
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower


@dataclass(frozen=True, slots=True)
class TowerEncoder:
    """The encoder of one modality (see `encoders.model_sets.encoder.Encoder`).

    Attributes:
        tower: Frozen tower in evaluation mode.
        config: Preprocessing constants.
    """

    tower: VisionTower
    config: Config

    @property
    def device(self) -> torch.device:
        """Device of its parameters."""
        return self.tower.logit_scale.device

    @property
    def logit_scale(self) -> float:
        """Factor of this modality's cosines in training: exp of its parameter."""
        return float(self.tower.logit_scale.detach().float().exp())

    def preprocess(self, raw: Any, *, columns: Columns | None = None) -> tuple[Tensor, float]:
        """The network's input, float32 on the tower's device, and the valid share."""
        return preprocess(raw, self.config, device=self.device, columns=columns)

    def encode(self, inputs: Tensor) -> Tensor:
        """Unit vectors `[B, D]` of inputs `[B, 3, H, W]` or `[B, 3, T, H, W]`."""
        vectors: Tensor = self.tower(inputs.to(self.tower.logit_scale))
        return vectors


def build_tower(
    config: VisionConfig, tensors: Mapping[str, Tensor], pool: TensorPool
) -> VisionTower:
    """Build a frozen tower with parameters from the pool."""
    with unfilled():
        tower = VisionTower(config)
    shared = {name: pool.share(tensor) for name, tensor in tensors.items()}
    tower.load_state_dict(shared, strict=True, assign=True)
    return tower.eval().requires_grad_(False)


def towers_of(encoders: Mapping[str, object]) -> dict[str, VisionTower]:
    """The towers among some encoders, by modality."""
    return {n: e.tower for n, e in encoders.items() if isinstance(e, TowerEncoder)}


def free_towers(towers: Iterable[VisionTower]) -> None:
    """Free the weights of towers, which cannot run afterwards; their `config` stays."""
    for tower in towers:
        for module in tower.modules():
            module._parameters.clear()
