"""Weights in the order in which oneDNN reads them, rearranged once instead of at every product.

A plain linear layer has oneDNN copy its weight into blocks at every call, or, in float32, leaves
the product to MKL, which on AMD processors does without AVX-512 (docs/engine.md, Measured).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from encoders.vision.precision import cpu_has_bf16
from encoders.vision.vit import Linear, LoraLinear, VisionTower


def can_prepack(weight: Tensor) -> bool:
    """Whether this build of torch and this processor multiply such weights with oneDNN."""
    if weight.device.type != 'cpu' or not hasattr(torch.ops.mkldnn, '_reorder_linear_weight'):
        return False
    if torch.backends.cpu.get_cpu_capability() not in ('AVX2', 'AVX512'):
        return False  # not tried elsewhere
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and cpu_has_bf16())


def rearranged(weight: Tensor) -> Tensor:
    """A weight `[out, in]` in blocks: opaque, for `encoders.vision.vit.linear` alone."""
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return blocks


def prepack(towers: Iterable[VisionTower]) -> None:
    """Rearrange the linear layers of towers in place; weights they share stay shared.

    The towers can only be run afterwards: their weights are opaque, and have no gradients. Takes
    no memory, but for one weight at a time. Does nothing where `can_prepack` says no.
    """
    users: dict[int, list[Linear | LoraLinear]] = defaultdict(list)
    for tower in towers:
        for module in tower.modules():
            if isinstance(module, (Linear, LoraLinear)):
                users[id(module.weight)].append(module)
    for modules in users.values():
        if can_prepack(modules[0].weight):
            weight = nn.Parameter(rearranged(modules[0].weight), requires_grad=False)
            for module in modules:
                module.weight = weight
