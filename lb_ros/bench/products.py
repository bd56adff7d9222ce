"""The linear layers of a trunk, compared with bare matrix products on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.vision.prepacked import can_prepack, rearranged
from encoders.vision.vit import VisionTower, linear

Cases = dict[str, Callable[[], object]]


def product_cases(name: str, towers: Mapping[str, VisionTower], *, batch: int) -> Cases:
    """Return all linear layers of the blocks on the rows of a packed call, and bare products.

    The bare products repeat the weights of one layer: in rows, in columns, and rearranged; the
    fastest of the three depends on the machine.
    """
    if not towers:
        return {}
    tower = next(iter(towers.values()))
    config, like, rows = tower.config, tower.logit_scale, rows_of(towers, batch=batch)
    inputs = {size: torch.randn(rows, size).to(like) for size in (config.width, config.mlp_width)}
    shapes = [(config.width, config.width)] * 4
    shapes += [(config.mlp_width, config.width), (config.width, config.mlp_width)]
    weights = [torch.randn(shape).to(like) for shape in shapes]

    def trunk() -> None:
        for module in tower.encoder.layers.modules():
            weight = getattr(module, 'weight', None)
            if weight is not None and weight.ndim == 2:
                linear(inputs[weight.shape[1]], weight, getattr(module, 'bias', None))
        _wait_for(like.device)

    def products(product: Callable[[Tensor, Tensor], Tensor], held: Sequence[Tensor]) -> None:
        for _ in range(config.layers):
            for weight, (_, size) in zip(held, shapes, strict=True):
                product(inputs[size], weight)
        _wait_for(like.device)

    columns = [weight.T.contiguous() for weight in weights]
    cases: Cases = {
        f'trunk {name} linear layers': trunk,
        f'products {name} in rows': lambda: products(F.linear, weights),
        f'products {name} in columns': lambda: products(torch.mm, columns),
    }
    if can_prepack(weights[0]):
        blocks = [rearranged(weight) for weight in weights]
        cases[f'products {name} rearranged'] = lambda: products(
            lambda rows, weight: linear(rows, weight, None), blocks
        )
    return cases


def linear_flops(towers: Mapping[str, VisionTower], *, batch: int) -> float:
    """Return the floating-point operations of one case of `product_cases`."""
    if not towers:
        return 0.0
    config = next(iter(towers.values())).config
    size = 4 * config.width**2 + 2 * config.width * config.mlp_width
    return 2.0 * rows_of(towers, batch=batch) * size * config.layers


def rows_of(towers: Mapping[str, VisionTower], *, batch: int) -> int:
    """Return the number of tokens of a packed call."""
    return batch * sum((1 + t.config.patches) * t.config.frames for t in towers.values())


def _wait_for(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
