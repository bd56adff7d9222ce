"""Inputs to tokens: patch embedding or the stem of an encoder, class token and positions."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.vision.config import VisionConfig

QUARTERS = 4
# Mean, maximum, minimum and spread of a channel, and its means in four parts of the window.
WINDOW_STATISTICS = 4 + QUARTERS
SMALLEST_SPREAD = 1e-3
# The last values of a patch, and their mean and maximum over the window.
SPREADS = 2
SPREAD_STATISTICS = 2 * SPREADS


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
        elif config.stem == 'series':
            self.patch_embedding = SeriesStem(config)
        elif config.stem == 'described':
            self.patch_embedding = DescribedStem(config)
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
        if isinstance(self.patch_embedding, SeriesStem | DescribedStem):
            start = start + self.patch_embedding.summary(stacked).unsqueeze(1)
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


class SeriesStem(nn.Module):
    """Series `[B, C, patches, V]` to one token `[B, width, patches, 1]` per patch.

    All channels of a patch become one token. A summary of the whole window is added to the class
    token: without it, a small transformer must first learn to average. With `config.spreads` it
    also holds how much each channel varies within patches, on average and at most, from which
    roughness is read. That part is 0 before training, so that an encoder without it can be
    trained further.

    Inputs are those of `encoders.preprocess.mini.series.normalise`.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.steps, self.forms = config.patch_size, config.forms
        values = config.channels * config.image_size[1]
        self.patches = _two_layers(values, config.width)
        self.whole = _two_layers(config.channels * config.forms * WINDOW_STATISTICS, config.width)
        self.spreads: nn.Linear | None = None
        if config.spreads:
            self.spreads = nn.Linear(config.channels * SPREAD_STATISTICS, config.width, bias=False)
            nn.init.zeros_(self.spreads.weight)

    def forward(self, planes: Tensor) -> Tensor:
        """`[B, C, patches, V]` to `[B, width, patches, 1]`."""
        tokens: Tensor = self.patches(planes.transpose(1, 2).flatten(2))
        return tokens.transpose(1, 2).unsqueeze(-1)

    def summary(self, planes: Tensor) -> Tensor:
        """`[B, C, patches, V]` to one vector per window, `[B, width]`."""
        found = window_statistics(planes, forms=self.forms, steps=self.steps)
        summarised: Tensor = self.whole(found.flatten(1))
        if self.spreads is None:
            return summarised
        varied = planes[..., -SPREADS:]  # of values and of differences
        both = torch.cat([varied.mean(2), varied.amax(2)], dim=-1)
        added: Tensor = self.spreads(both.flatten(1))
        return summarised + added


class DescribedStem(nn.Module):
    """As `SeriesStem`, for any channels: each is known by the vector of a sentence about it.

    The values of a channel go through one layer that all channels share, and that the vector of
    its sentence scales and shifts (Perez et al. 2018, "FiLM"). The channels that are measured are
    summed. So neither their number nor their order is fixed by the weights.
    """

    channel_vectors: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.steps, self.forms = config.patch_size, config.forms
        vectors = torch.zeros(config.channels, config.projection)
        self.register_buffer('channel_vectors', vectors)
        # Sentences about channels resemble each other: what they share is subtracted.
        self.register_buffer('centre', torch.zeros(config.projection))
        self.register_buffer('spread', torch.ones(()))
        self.patches = _Described(config.image_size[1], config)
        self.whole = _Described(config.forms * WINDOW_STATISTICS, config)

    @torch.no_grad()
    def describe(self, vectors: Tensor, *, like: DescribedStem | None = None) -> None:
        """Set the sentence vectors of the channels.

        Args:
            vectors: Unit vectors `[C, projection]`.
            like: A trained stem, whose mean and spread of vectors are used; None for those of
                these vectors.
        """
        vectors = vectors.to(self.centre)
        self.channel_vectors = vectors
        if like is not None:
            self.centre, self.spread = like.centre, like.spread
            return
        if len(vectors) > 1:
            self.centre = vectors.mean(0)
        deviation = vectors - self.centre
        self.spread = deviation.square().mean().sqrt().clamp(min=SMALLEST_SPREAD)

    def forward(self, planes: Tensor) -> Tensor:
        """`[B, C, patches, V]` to `[B, width, patches, 1]`."""
        shown = self._shown(planes).amax(-1)
        tokens: Tensor = self.patches(planes.transpose(1, 2), self._words(), shown.transpose(1, 2))
        return tokens.transpose(1, 2).unsqueeze(-1)

    def summary(self, planes: Tensor) -> Tensor:
        """`[B, C, patches, V]` to one vector per window, `[B, width]`."""
        shown = self._shown(planes).amax((-2, -1))
        found = window_statistics(planes, forms=self.forms, steps=self.steps)
        summarised: Tensor = self.whole(found.flatten(2), self._words(), shown)
        return summarised

    def _shown(self, planes: Tensor) -> Tensor:
        start = self.steps * self.forms
        return planes[..., start : start + self.steps]

    def _words(self) -> Tensor:
        centred = self.channel_vectors - self.centre
        return centred / self.spread


class _Described(nn.Module):
    """Values of described channels to one vector."""

    def __init__(self, values: int, config: VisionConfig) -> None:
        super().__init__()
        self.values = nn.Linear(values, config.width)
        self.gain = nn.Linear(config.projection, config.width)
        self.shift = nn.Linear(config.projection, config.width)
        self.mixed = nn.Linear(config.width, config.width)

    def forward(self, values: Tensor, words: Tensor, shown: Tensor) -> Tensor:
        """Values `[..., C, V]`, words `[C, D]` and a mask `[..., C]` to `[..., width]`."""
        hidden = F.gelu(self.values(values) * (1 + self.gain(words)) + self.shift(words))
        # Their root, so that the size of the sum does not depend on the number of channels.
        count = shown.sum(-1, keepdim=True).clamp(min=1).sqrt()
        pooled = (hidden * shown.unsqueeze(-1)).sum(-2) / count
        mixed: Tensor = self.mixed(pooled)
        return mixed


def window_statistics(planes: Tensor, *, forms: int, steps: int) -> Tensor:
    """Statistics of every channel over the window, `[B, C, forms, WINDOW_STATISTICS]`.

    Mean, largest and smallest value, logarithm of the spread, and the means of four parts; of the
    measured values only.
    """
    size = steps * forms
    batch, channels, patches, _ = planes.shape
    shape = (batch, channels, patches, forms, steps)
    values = planes[..., :size].reshape(shape).transpose(2, 3)
    shown = planes[..., size : size + steps].unsqueeze(2).expand_as(values)
    mean = _mean(values, shown)
    square = _mean((values - mean[..., None, None]).square(), shown)
    spread = (square.clamp(min=0).sqrt() + 0.01).log() / 2
    parts = [
        _mean(values[..., start:stop, :], shown[..., start:stop, :])
        for start, stop in _quarters(values.shape[-2])
    ]
    most, least = values.amax((-2, -1)), values.amin((-2, -1))
    return torch.stack([mean, most, least, spread, *parts], dim=-1)


def _two_layers(values: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(values, width), nn.GELU(), nn.Linear(width, width))


def _mean(values: Tensor, shown: Tensor) -> Tensor:
    return (values * shown).sum((-2, -1)) / shown.sum((-2, -1)).clamp(min=1)


def _quarters(patches: int) -> list[tuple[int, int]]:
    """First patch and the one after the last of four parts, at least one patch each."""
    marks = [patches * part // QUARTERS for part in range(QUARTERS + 1)]
    return [(min(a, patches - 1), max(b, min(a, patches - 1) + 1)) for a, b in pairwise(marks)]


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
