"""Tokens of a frozen trunk for all samples of some bags, computed once and kept in files.

A file per bag and modality holds the tokens of the samples as recorded, and of augmented copies.
If the last blocks of the encoders are to learn, it holds the states that enter them instead, and
the vectors of the frozen encoder.
Files are mapped into memory, so that processes share them and data larger than the memory fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from encoders.atomic import write_atomically
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import Config, config_to_dict, from_stored
from encoders.vision.readout import mean_over_frames
from train.bags.load import LoadReport, extracted_bags, fingerprint
from train.bags.samples import UNKNOWN, Array, Samples, joined, stored_tensor
from train.bags.topics import TOPICS
from train.bags.visible import hidden_facts
from train.progress import counted
from train.training.augment import augmented_inputs
from train.training.last_blocks import check_block_count, entering, leaving

BATCH = 32
# Modalities that have the view of the fixed camera, whose regions tell what is out of view.
VIEWS = ('image', 'depth', 'infrared', 'video')
FOLDER = 'tokens'
# Version of the augmentation and of the computation of tokens.
RULES = 1


@dataclass(frozen=True, slots=True)
class BagTokens:
    """Tokens of one modality in one bag with `n` samples, in `C` copies.

    Attributes:
        tokens: float16 `[C, n, N, width]`; the first copy is not augmented. 0 where the sensor was
            not recorded. Of the last block, or the states that enter the blocks that learn.
        regions: uint8 `[C, n, R, R]`: labels of the parts as in `Samples.regions`, moved like the
            inputs of the copy.
        region_names: Names of the parts.
        vectors: Unit vectors of the frozen encoder, float16 `[C, n, D]`; None if no block learns.
    """

    tokens: Tensor
    regions: Tensor
    region_names: tuple[str, ...]
    vectors: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TokenData:
    """The labelled samples of some bags with their tokens.

    Attributes:
        samples: Truth of all samples. `inputs` holds bool `[N]` by modality: whether the sensor
            was recorded. Without regions, which each bag has with its own names.
        bags: By modality, the tokens of each bag.
        in_view: As `samples.truth`, but unknown where a thing of the fact is out of view.
        unfreeze_blocks: Number of last blocks that the tokens have not passed yet.
    """

    samples: Samples
    bags: Mapping[str, Sequence[BagTokens]]
    in_view: NDArray[np.int8]
    unfreeze_blocks: int = 0

    @property
    def copies(self) -> int:
        """Number of copies of every sample."""
        return len(next(iter(self.bags.values()))[0].tokens)

    def truth(self, modality: str) -> NDArray[np.int8]:
        """Truth `[N, P]` that a modality can learn: what is out of view can still be heard."""
        return self.in_view if modality in VIEWS else self.samples.truth

    def places(self, rows: Tensor) -> list[tuple[int, int]]:
        """Bag of each sample, and its index within the bag."""
        bags = self.samples.bag[rows.numpy()]
        starts = np.searchsorted(self.samples.bag, bags)
        return list(zip(bags.tolist(), (rows.numpy() - starts).tolist(), strict=True))

    def tokens(self, modality: str, rows: Tensor, copies: Tensor) -> Tensor:
        """Tokens float16 `[B, N, width]` of samples, each in one of its copies."""
        return self._picked([bag.tokens for bag in self.bags[modality]], rows, copies)

    def vectors(self, modality: str, rows: Tensor, copies: Tensor) -> Tensor:
        """Vectors float16 `[B, D]` of the frozen encoder; arguments as `tokens`."""
        found = [bag.vectors for bag in self.bags[modality] if bag.vectors is not None]
        return self._picked(found, rows, copies)

    def _picked(self, found: Sequence[Tensor], rows: Tensor, copies: Tensor) -> Tensor:
        """Of a tensor `[C, n, ...]` per bag, the entries of samples, each in one of its copies."""
        places = zip(self.places(rows), copies.tolist(), strict=True)
        return torch.stack([found[b][c, k] for (b, k), c in places])


def trainable_encoders(
    encoders: EncoderSet, modalities: Sequence[str], *, unfreeze_blocks: int = 0
) -> dict[str, TowerEncoder]:
    """The encoders of modalities that are read from bags.

    Raises:
        ValueError: A modality is not read from bags, or its encoder has no tokens, or fewer blocks
            than are to learn.
    """
    chosen = {}
    for name in modalities:
        encoder = encoders.encoders.get(name)
        if encoder is None:
            raise ValueError(f'{encoders.name}: has no encoder of {name}; leave it out')
        if name not in TOPICS or not isinstance(encoder, TowerEncoder):
            raise ValueError(f'{name}: no readout can be trained from bags; leave it out')
        check_block_count(name, encoder.tower.config, count=unfreeze_blocks)
        chosen[name] = encoder
    return chosen


def load_tokens(
    encoders: Mapping[str, TowerEncoder],
    bags: Sequence[Path],
    *,
    weights_sha256: str,
    augmentations: int = 0,
    unfreeze_blocks: int = 0,
    cache: Path | None = None,
    workers: int = 1,
    first: int = 0,
) -> tuple[TokenData, LoadReport]:
    """Compute the tokens of all labelled samples of some bags, or read them from a cache.

    Args:
        encoders: Frozen encoders by modality.
        bags: Bag folders or files.
        weights_sha256: Identity of the encoders' weights, part of the names of cached files.
        augmentations: Number of augmented copies of each sample.
        unfreeze_blocks: Number of last blocks that are to learn; the states that enter them are
            kept instead of tokens.
        cache: Folder for extracted inputs and tokens; None keeps tokens in memory.
        workers: Processes that read bags, see `load_samples`.
        first: Index of the bag to begin with, by which processes with one cache share the work.

    Returns:
        The data in the order of `bags`, and a report.
    """
    configs: dict[str, Config] = {name: encoder.config for name, encoder in encoders.items()}
    order = [*bags[first:], *bags[:first]]
    found = extracted_bags(order, configs, cache=cache, workers=workers)
    made: dict[Path, tuple[Samples, Samples, dict[str, BagTokens]]] = {}
    problems: dict[Path, list[str]] = {}
    steps = counted(zip(order, found, strict=True), 'computing tokens', total=len(order))
    for bag, (samples, problems[bag]) in steps:
        if not len(samples):
            continue
        own = {}
        for name, encoder in encoders.items():
            key = _key(
                fingerprint(bag, {name: encoder.config}),
                encoder.config,
                weights_sha256=weights_sha256,
                augmentations=augmentations,
                unfreeze_blocks=unfreeze_blocks,
            )
            path = cache / FOLDER / f'{bag.name}-{name}-{key}.safetensors' if cache else None
            own[name] = _bag_tokens(
                samples, name, encoder, path, augmentations, key, unfreeze_blocks=unfreeze_blocks
            )
        plain = _without_inputs(samples)
        seen = np.where(hidden_facts(samples), UNKNOWN, samples.truth).astype(np.int8)
        made[bag] = plain, replace(plain, truth=seen), own
    kept = [made[bag] for bag in bags if bag in made]
    data = TokenData(
        samples=joined([samples for samples, _, _ in kept], tuple(encoders)),
        bags={name: tuple(own[name] for _, _, own in kept) for name in encoders},
        in_view=joined([seen for _, seen, _ in kept], tuple(encoders)).truth,
        unfreeze_blocks=unfreeze_blocks,
    )
    lines = tuple(line for bag in bags for line in problems[bag])
    return data, LoadReport(len(kept), len(data.samples), lines)


def _without_inputs(samples: Samples) -> Samples:
    recorded = {name: _recorded(stored) for name, stored in samples.inputs.items()}
    blank = np.zeros_like(samples.regions)
    return replace(samples, inputs=recorded, regions=blank, region_names=())


def _recorded(stored: Array) -> NDArray[np.bool_]:
    return np.asarray(stored.reshape(len(stored), -1).any(1))


def _key(
    bag: str, config: Config, *, weights_sha256: str, augmentations: int, unfreeze_blocks: int
) -> str:
    described = {
        'rules': RULES,
        'bag': bag,
        'config': config_to_dict(config),
        'weights': weights_sha256,
        'augmentations': augmentations,
    }
    if unfreeze_blocks:  # without, files of earlier versions are found
        described['unfreeze_blocks'] = unfreeze_blocks
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _bag_tokens(
    samples: Samples,
    modality: str,
    encoder: TowerEncoder,
    path: Path | None,
    augmentations: int,
    key: str,
    *,
    unfreeze_blocks: int = 0,
) -> BagTokens:
    """The tokens of a bag from its file; without one they are computed and written."""
    names = samples.region_names
    if path is not None and path.exists():
        return _loaded(path, names)
    generator = torch.Generator().manual_seed(int(key, 16))
    copies = [
        _encoded(
            samples,
            modality,
            encoder,
            generator if number else None,
            unfreeze_blocks=unfreeze_blocks,
        )
        for number in range(1 + augmentations)
    ]
    tensors = {name: torch.stack([copy[name] for copy in copies]) for name in copies[0]}
    if path is None:
        return BagTokens(**tensors, region_names=names)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors))
    return _loaded(path, names)


def _loaded(path: Path, names: tuple[str, ...]) -> BagTokens:
    """Map a file into memory; it is not kept open, because a process may open only 1,024."""
    return BagTokens(**load_file(path), region_names=names)


@torch.inference_mode()
def _encoded(
    samples: Samples,
    modality: str,
    encoder: TowerEncoder,
    generator: torch.Generator | None,
    *,
    unfreeze_blocks: int,
) -> dict[str, Tensor]:
    """Tensors of `BagTokens` of one copy; augmented if there is a generator."""
    stored, recorded = samples.inputs[modality], _recorded(samples.inputs[modality])
    tower, count = encoder.tower, unfreeze_blocks
    tokens, regions, vectors = [], [], []
    for start in range(0, len(stored), BATCH):
        part = stored_tensor(stored[start : start + BATCH])
        labels = torch.from_numpy(samples.regions[start : start + BATCH])
        if generator is None:
            inputs = from_stored(part, encoder.config)
        else:
            inputs, labels = augmented_inputs(part, encoder.config, generator, regions=labels)
        states = entering(tower, inputs.to(tower.logit_scale), count=count)
        tokens.append(mean_over_frames(states, tower.config.frames).half().cpu())
        regions.append(labels)
        if count:
            vectors.append(leaving(tower, states, count=count).half().cpu())
    found = {'tokens': torch.cat(tokens), 'regions': torch.cat(regions)}
    found['tokens'][torch.from_numpy(~recorded)] = 0
    return found | ({'vectors': torch.cat(vectors)} if count else {})
