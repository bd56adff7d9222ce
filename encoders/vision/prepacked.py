"""Weights in oneDNN's block layout, rearranged once instead of in every product.

In a plain linear layer, oneDNN copies the weight into blocks in every call, or, in float32, MKL
computes the product, which does not use AVX-512 on AMD processors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from encoders.vision.precision import cpu_has_bf16
from encoders.vision.vit import Linear, LoraLinear, VisionTower


def can_prepack(weight: Tensor) -> bool:
    """Whether oneDNN multiplies such weights in this build of PyTorch and on this processor."""
    if weight.device.type != 'cpu' or not hasattr(torch.ops.mkldnn, '_reorder_linear_weight'):
        return False
    if torch.backends.cpu.get_cpu_capability() not in ('AVX2', 'AVX512'):
        return False  # not tested on others
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and cpu_has_bf16())


def rearranged(weight: Tensor) -> Tensor:
    """A weight `[out, in]` in block layout; opaque, only for `encoders.vision.vit.linear`."""
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return blocks


def prepack(towers: Iterable[VisionTower]) -> None:
    """Rearrange the linear layers of towers in place; shared weights stay shared.

    Afterwards the weights are opaque and have no gradients, so the towers can only be run. Needs
    additional memory for one weight at a time. Weights for which `can_prepack` is false are left
    unchanged.
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
