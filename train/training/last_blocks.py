"""The last blocks of an encoder, which may learn along with its readout.

The encoders of a set share blocks of equal values, and a file and the memory hold them once. Here
every modality in training gets a copy of its own, so that no other encoder changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.transformer import unfilled
from encoders.vision.config import VisionConfig
from encoders.vision.vit import Layer, VisionTower

PROJECTION = 'visual_projection.weight'


class LastBlocks(nn.Module):
    """A trainable copy of the last blocks of a tower and of the LayerNorm of its pooled vector.

    Tensors have their names in the tower. The projection into the language space is frozen.

    Args:
        config: Shape of the tower.
        tensors: Its tensors by name; they are copied.
        count: Number of blocks.
    """

    projection: Tensor

    def __init__(self, config: VisionConfig, tensors: Mapping[str, Tensor], *, count: int) -> None:
        super().__init__()
        with unfilled():
            layers = {str(k): Layer(config) for k in range(config.layers - count, config.layers)}
            self.encoder = nn.ModuleDict({'layers': nn.ModuleDict(layers)})
            self.post_layernorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        # Every tensor is copied on its own: equal ones of a loaded tower are one parameter.
        own = {name: tensors[name].to(torch.float32, copy=True) for name in self.state_dict()}
        self.load_state_dict(own, assign=True)
        self.register_buffer('projection', tensors[PROJECTION].float(), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """Tokens of the last block, float32 `[B, N, width]`.

        Args:
            states: Result of `entering`, float32 of the same shape.
        """
        for layer in cast('nn.ModuleDict', self.encoder['layers']).values():
            states = layer(states)
        return states

    def vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors of the language space, float32 `[B, D]`, of tokens `[B, N, width]`."""
        pooled = self.post_layernorm(tokens[:, 0].float())
        return F.normalize(F.linear(pooled, self.projection), dim=-1)


def entering(tower: VisionTower, inputs: Tensor, *, count: int) -> Tensor:
    """The states that enter the last `count` blocks of a tower.

    Args:
        tower: The tower of single images, not of video clips.
        inputs: Preprocessed inputs `[B, ...]`.
        count: Number of blocks; 0 for the tokens of the last block.

    Returns:
        float `[B, 1 + patches, width]`.
    """
    states = tower.embed(inputs)
    for layer in _layers(tower)[: tower.config.layers - count]:
        states = layer(states)
    return states


def leaving(tower: VisionTower, states: Tensor, *, count: int) -> Tensor:
    """The unit vectors float32 `[B, D]` that a tower makes of a result of `entering`."""
    for layer in _layers(tower)[tower.config.layers - count :]:
        states = layer(states)
    return F.normalize(tower.pool(states).float(), dim=-1)


def check_block_count(modality: str, config: VisionConfig, *, count: int) -> None:
    """Refuse to unfreeze blocks that an encoder does not have, or that mix the frames of a clip.

    Raises:
        ValueError: The encoder has fewer blocks than `count`, or reads clips.
    """
    problem, most = '', config.layers
    if count > most:
        problem = f'has only {most} blocks; set unfreeze_blocks to {most} or less'
    elif count and config.frames > 1:
        problem = f'reads clips of {config.frames} frames; set unfreeze_blocks to 0'
    if problem:
        raise ValueError(
            f'unfreeze_blocks: {count}, but the {modality} encoder of the start {problem}, '
            f'or leave {modality} out of the modalities'
        )


def distance(vectors: Tensor, frozen: Tensor) -> Tensor:
    """The sum of `1 - cosine` of unit vectors `[B, D]` and frozen ones, scalar."""
    return (1 - F.cosine_similarity(vectors, frozen.float(), dim=-1)).sum()


def last_blocks(blocks: nn.ModuleDict, modality: str) -> LastBlocks:
    """The last blocks of an encoder among those of all modalities."""
    found = blocks[modality]
    assert isinstance(found, LastBlocks)
    return found


def _layers(tower: VisionTower) -> list[Layer]:
    return cast('list[Layer]', list(tower.encoder.layers))
