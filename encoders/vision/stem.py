"""Frames to tokens: patch embedding or convolution stem, class token and positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.vision.config import VisionConfig


class Embeddings(nn.Module):
    """Patch embedding, class token and positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, side = config.width, config.patch_size
        own = (config.frames, width) if config.per_frame else (width,)
        self.class_embedding = nn.Parameter(torch.empty(own))
        nn.init.normal_(self.class_embedding, std=width**-0.5)
        self.patch_embedding: nn.Module
        if config.stem == 'convolutions':
            self.patch_embedding = ConvolutionStem(config)
        elif config.per_frame:
            size = (1, side, side)
            self.patch_embedding = nn.Conv3d(config.channels, width, size, stride=size, bias=False)
        else:
            self.patch_embedding = nn.Conv2d(config.channels, width, side, stride=side, bias=False)
        self.position_embedding = nn.Embedding(config.patches + 1, width)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `[B, 3, T, H, W]` to tokens `[B * T, 1 + patches, width]`, class token first."""
        batch, channels, count, *size = frames.shape
        if isinstance(self.patch_embedding, nn.Conv3d):
            patches = self.patch_embedding(frames).transpose(1, 2).flatten(0, 1)
        else:
            stacked = frames.transpose(1, 2).reshape(batch * count, channels, *size)
            patches = self.patch_embedding(stacked)
        width = patches.shape[1]
        start = self.class_embedding.expand(batch, count, width).reshape(-1, 1, width)
        tokens = torch.cat([start, patches.flatten(2).transpose(1, 2)], dim=1)
        return tokens + self.position_embedding.weight


class ConvolutionStem(nn.Sequential):
    """Inputs `[B, channels, H, W]` to one token `[B, width, H / patch, W / patch]` per patch.

    With it, small networks need far less data than with one linear map per patch (Xiao et al.
    2021, "Early convolutions help transformers see better").
    """

    def __init__(self, config: VisionConfig) -> None:
        halvings = int(math.log2(config.patch_size)) - 2
        width = config.width >> halvings
        steps: list[nn.Module] = [nn.Conv2d(config.channels, width, 4, stride=4), nn.ReLU()]
        for _ in range(halvings):
            wider = width * 2
            steps += [
                nn.Conv2d(width, wider, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(max(1, wider // 16), wider),
                nn.ReLU(),
                *(ResidualBlock(wider) for _ in range(config.stem_blocks)),
            ]
            width = wider
        super().__init__(*steps, nn.Conv2d(width, config.width, 1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(max(1, width // 16), width)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(max(1, width // 16), width)

    def forward(self, planes: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same shape."""
        hidden = F.relu(self.norm1(self.convolution1(planes)))
        return planes + torch.as_tensor(self.norm2(self.convolution2(hidden)))
