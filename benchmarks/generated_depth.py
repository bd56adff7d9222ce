"""Depth that a small network predicts from colour images, in place of measured depth.

The network learns from pairs of other bags than those whose depth it replaces. Unlike a published
depth estimator, it knows the simulator, its camera and metres: its depth is better than what a
real robot could expect.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from train.pairs.record import Pair, decode, encode
from train.pairs.shards import PairSet, open_pair_set, write_shards

SIZE = 128
WIDTHS = (16, 32, 64, 96)
NAME = 'small depth network'
NEAREST_M = 0.1
BATCH, LEARNING_RATE = 16, 2e-3


class DepthNetwork(nn.Module):
    """An encoder and a decoder with skip connections: `[B, 3, H, W]` to log metres `[B, H, W]`."""

    def __init__(self) -> None:
        super().__init__()
        ins = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            _block(before, after, stride=2) for before, after in zip(ins, WIDTHS, strict=True)
        )
        outs = WIDTHS[-2::-1]
        self.up = nn.ModuleList(
            _block(before + after, after, stride=1)
            for before, after in zip(WIDTHS[:0:-1], outs, strict=True)
        )
        self.last = nn.Conv2d(WIDTHS[0], 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Predict log depth."""
        planes = []
        for layer in self.down:
            images = layer(images)
            planes.append(images)
        found = planes.pop()
        for layer in self.up:
            skip = planes.pop()
            larger = F.interpolate(found, skip.shape[-2:], mode='bilinear')
            found = layer(torch.cat([larger, skip], dim=1))
        full: Tensor = F.interpolate(self.last(found), scale_factor=2.0, mode='bilinear')
        return full[:, 0]


def _block(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1),
        nn.GroupNorm(4, after),
        nn.GELU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(4, after),
        nn.GELU(),
    )


def trained_network(pairs: PairSet, *, steps: int, seed: int) -> DepthNetwork:
    """Train on images and measured depth; the loss is the absolute error of log depth."""
    torch.manual_seed(seed)
    images, depths = _planes(pairs)
    network = DepthNetwork().train()
    updates = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(updates, LEARNING_RATE, total_steps=steps)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(images), (BATCH,), generator=draw)
        wanted = depths[rows]
        measured = wanted > 0
        error = network(_unit(images[rows])) - wanted.clamp(min=NEAREST_M).log()
        loss = error.abs()[measured].mean()
        updates.zero_grad(set_to_none=True)
        loss.backward()
        updates.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def predicted(network: DepthNetwork, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Depth of an image `[H, W, 3]`, float32 metres `[H, W]`."""
    small = torch.from_numpy(_small(rgb)).unsqueeze(0)
    metres = network(_unit(small))[0].exp().numpy()
    return np.asarray(cv2.resize(metres, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def errors(network: DepthNetwork, pairs: PairSet, *, count: int = 300) -> dict[str, float]:
    """Mean relative error, and the share of pixels within 25 %, on pairs spread over a set."""
    relative, within = [], []
    for index in np.unique(np.linspace(0, len(pairs) - 1, count).astype(int)):
        files = pairs.read(int(index)).files
        wanted = decode('depth', files).astype(np.float32) / 1000
        found = predicted(network, decode('image', files))
        measured = wanted > 0
        ratio = found[measured] / wanted[measured]
        relative.append(float(np.abs(ratio - 1).mean()))
        within.append(float((np.maximum(ratio, 1 / ratio) < 1.25).mean()))
    return {
        'relative error': round(float(np.mean(relative)), 4),
        'share within 25 %': round(float(np.mean(within)), 4),
    }


def write_generated(pairs: Path, out: Path, network: DepthNetwork, *, share: float) -> None:
    """Write the pairs with generated depth in a share of them, drawn by their keys."""
    stored = open_pair_set(pairs)

    def changed() -> Iterator[Pair]:
        for index in range(len(stored)):
            pair = stored.read(index)
            is_drawn = zlib.crc32(pair.key.encode()) / 2**32 < share
            yield with_depth(pair, network) if is_drawn else pair

    described = {k: v for k, v in stored.manifest.items() if k not in ('format', 'shards')}
    write_shards(out, changed(), described=described)


def with_depth(pair: Pair, network: DepthNetwork) -> Pair:
    """The pair with generated depth instead of its own."""
    depth = encode('depth', predicted(network, decode('image', pair.files)))
    files = {name: data for name, data in pair.files.items() if not name.startswith('depth.')}
    return replace(pair, files={**files, **depth}, generated={**pair.generated, 'depth': NAME})


def _planes(pairs: PairSet) -> tuple[Tensor, Tensor]:
    """Images uint8 `[N, S, S, 3]` and metres float32 `[N, S, S]`, 0 where nothing is measured."""
    images, depths = [], []
    for index in range(len(pairs)):
        files = pairs.read(index).files
        images.append(_small(decode('image', files)))
        depth: Any = decode('depth', files).astype(np.float32) / 1000
        depths.append(cv2.resize(depth, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(depths))


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def _unit(images: Tensor) -> Tensor:
    return images.movedim(-1, 1).float() / 127.5 - 1
