"""Labelled samples: the input of every sensor at each stamp with known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REGION_SIZE = 64
MAX_OFFSET_S = 0.1  # largest distance of an input from the truth of its sample
UNKNOWN, FALSE, TRUE = -1, 0, 1
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled samples of one or more bags.

    Attributes:
        inputs: Modality to stored inputs `[N, ...]` (see `encoders.preprocess.to_stored`), or
            to the result of the `convert` argument of `load_samples`.
        truth: int8 `[N, P]`: 1 true, 0 false, -1 unknown.
        predicates: `P` names.
        bag: `[N]` index of the bag of each sample.
        times_s: `[N]` seconds since the start of its bag.
        bags: Names of the bags.
        regions: uint8 `[N, 64, 64]`: the named part of the scene in each cell of the image: 0 for
            none, else 1 + index in `region_names`. All 0 if the bag has no regions.
        region_names: Names of the parts.
        scenes: Mark `scene` of each bag, '' for none; empty if they are not known.
    """

    inputs: dict[str, Array]
    truth: NDArray[np.int8]
    predicates: tuple[str, ...]
    bag: NDArray[np.int64]
    times_s: NDArray[np.float64]
    bags: tuple[str, ...]
    regions: NDArray[np.uint8]
    region_names: tuple[str, ...]
    scenes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.truth)


def joined(parts: Sequence[Samples], modalities: Sequence[str]) -> Samples:
    """Concatenate the samples of several bags, with the predicates and regions of all of them."""
    names = sorted({name for part in parts for name in part.predicates})
    region_names = sorted({name for part in parts for name in part.region_names})
    total = sum(map(len, parts))
    truth = np.full((total, len(names)), UNKNOWN, np.int8)
    bag_of = np.zeros(total, np.int64)
    start = bags = 0
    for part in parts:
        rows = slice(start, start + len(part))
        truth[rows, [names.index(name) for name in part.predicates]] = part.truth
        bag_of[rows] = bags + part.bag
        start, bags = rows.stop, bags + len(part.bags)
    return Samples(
        inputs={
            m: np.concatenate([part.inputs[m] for part in parts] or [np.zeros(0)])
            for m in modalities
        },
        truth=truth,
        predicates=tuple(names),
        bag=bag_of,
        times_s=np.concatenate([np.zeros(0), *(part.times_s for part in parts)]),
        bags=tuple(bag for part in parts for bag in part.bags),
        regions=np.concatenate(
            [
                np.zeros((0, REGION_SIZE, REGION_SIZE), np.uint8),
                *(renumbered(part.regions, part.region_names, region_names) for part in parts),
            ]
        ),
        region_names=tuple(region_names),
        scenes=tuple(s for part in parts for s in part.scenes or ('',) * len(part.bags)),
    )


def absent_things(samples: Samples) -> NDArray[np.bool_]:
    """Predicates that are never true in the scene of a bag but in another one, bool `[bags, P]`.

    The thing that they are about is absent: nothing is screwed tight where there is no screw.
    """
    scenes = np.array(samples.scenes or ('',) * len(samples.bags))
    absent = np.zeros((len(scenes), len(samples.predicates)), bool)
    for scene in np.unique(scenes):
        here = scenes == scene
        absent[here] = ~(samples.truth[here[samples.bag]] == 1).any(0)
    is_somewhere: NDArray[np.bool_] = absent & (samples.truth == 1).any(0)
    return is_somewhere


def renumbered(
    labels: NDArray[np.uint8], own: Sequence[str], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Labels that index `own`, converted to index `names`, which contains all of `own`."""
    number = np.array([0, *(1 + names.index(str(name)) for name in own)], np.uint8)
    return np.asarray(number[labels])


def stored_tensor(stored: NDArray[Any]) -> Tensor:
    """Stored inputs as a tensor; uint16, for which PyTorch has few operations, becomes int32."""
    return torch.from_numpy(stored.astype(np.int32) if stored.dtype == np.uint16 else stored)
