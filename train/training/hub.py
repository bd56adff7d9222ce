"""What sensors are bound to: frozen vectors of sentences, or of images of the same moments.

LanguageBind (Zhu et al. 2024) binds every sensor to the frozen text tower; ImageBind (Girdhar et
al. 2023) binds them to a frozen image encoder, so that sensors and text meet only through images.
Both hubs give unit vectors that receive no gradient.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.model_sets.encoder import TextTower
from encoders.model_sets.sources import Source, load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import Config
from train.bags.samples import Samples
from train.evaluation.evaluate import embed_stored
from train.pairs.data import PairData
from train.pairs.record import Pair, decode
from train.training.ranks import Ranks, gathered_objects
from train.training.recipe import Recipe
from train.vector_cache import PART, add_vectors, cache_file, read_vectors

IMAGE = 'image'
BATCH = 32  # images in memory at a time


@dataclass(frozen=True, slots=True)
class Bound:
    """What the samples of a batch are bound to.

    Attributes:
        vectors: float32 `[B, D]`, unit length, without gradient.
        labels: `[B]`, what each vector stands for: a sentence, or the digest of an image.
        true_labels: `[B]`, all labels that belong to each sample, including its own.
    """

    vectors: Tensor
    labels: Sequence[str]
    true_labels: Sequence[frozenset[str]]


class Hub(Protocol):
    """Source of the vectors that the samples of a batch are bound to."""

    @property
    def name(self) -> str:
        """Value of the recipe's key `hub`."""
        ...

    def bound(self, numbers: Sequence[int], pairs: Sequence[Pair], *, draw: str) -> Bound:
        """The vectors of some pairs, given their numbers; `draw` seeds random choices."""
        ...


@dataclass(frozen=True, slots=True)
class LanguageHub:
    """One of the sentences of each pair, drawn at random, in the frozen text tower."""

    data: PairData
    text: TextTower
    name: str = 'language'

    def bound(self, numbers: Sequence[int], pairs: Sequence[Pair], *, draw: str) -> Bound:
        """See `Hub`."""
        known = [self.data.sentences(pair) for pair in pairs]
        drawn = [
            random.Random(f'{draw}:{pair.key}').choice(sentences)
            for pair, sentences in zip(pairs, known, strict=True)
        ]
        # One by one: the last digits of an embedding depend on the other sentences of its batch,
        # which differ after a resumption.
        vectors = torch.from_numpy(np.concatenate([self.text.embed([s]) for s in drawn]))
        return Bound(vectors, drawn, [frozenset(sentences) for sentences in known])


@dataclass(frozen=True, slots=True)
class ImageHub:
    """The image of each pair in the frozen image encoder of the start.

    Attributes:
        rows: Number of a pair to its row in `vectors`.
        vectors: float32 `[N, D]`, unit length.
        digests: `[N]`, identities of the images: equal images are positives of each other.
    """

    rows: Mapping[int, int]
    vectors: Tensor
    digests: Sequence[str]
    name: str = IMAGE

    def bound(self, numbers: Sequence[int], pairs: Sequence[Pair], *, draw: str) -> Bound:
        """See `Hub`."""
        rows = [self.rows[number] for number in numbers]
        labels = [self.digests[row] for row in rows]
        return Bound(self.vectors[rows], labels, [frozenset((label,)) for label in labels])


def image_hub(
    data: PairData,
    start: Source,
    modalities: Sequence[str],
    *,
    ranks: Ranks,
    cache: Path | None = None,
) -> ImageHub:
    """Embed the images of all pairs that have one of `modalities`; the processes share the work.

    Args:
        data: Training pairs.
        start: Model set with the image encoder.
        modalities: Sensors in training.
        ranks: All processes.
        cache: Folder of vectors for later runs; None keeps nothing.

    Raises:
        ValueError: The start has no image encoder.
        OSError: The folder cannot be written.
    """
    encoder = image_encoder(start)
    encoder.tower.to(ranks.device)
    found = {int(k) for name in modalities for k in data.usable(name, hub=IMAGE)}
    numbers = sorted(found)
    own = [_image_digest(data.source.read(k)) for k in _share(numbers, ranks)]
    digests = gathered_objects(own, ranks)

    def embed(rows: Sequence[int]) -> NDArray[np.float32]:
        parts = []
        for start_row in range(0, len(rows), BATCH):
            pairs = [data.source.read(numbers[r]) for r in rows[start_row : start_row + BATCH]]
            inputs = [encoder.preprocess(decode(IMAGE, pair.files))[0] for pair in pairs]
            with torch.inference_mode():
                parts.append(encoder.encode(torch.stack(inputs)).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    vectors = frozen_vectors(digests, embed, maker=maker_of(encoder), ranks=ranks, cache=cache)
    return ImageHub({number: row for row, number in enumerate(numbers)}, vectors, digests)


def inputs_to_read(recipe: Recipe) -> dict[str, Config]:
    """Preprocessing of what bags are read for: the sensors, and with hub `image` the images.

    Raises:
        ValueError: The start has no image encoder.
    """
    configs: dict[str, Config] = dict(recipe.modalities)
    if recipe.hub == IMAGE:
        assert recipe.start is not None
        configs[IMAGE] = image_encoder(recipe.start).config
    return configs


def image_vectors(recipe: Recipe, data: Samples, *, cache: Path | None = None) -> torch.Tensor:
    """Frozen vectors of the images of all samples, float32 `[N, D]`; 0 without an image.

    Raises:
        ValueError: No sample has an image and an input of each sensor of the recipe.
    """
    assert recipe.start is not None
    encoder = image_encoder(recipe.start)
    ranks = Ranks(0, 1, encoder.device)
    stored = data.inputs[IMAGE]
    has_image = stored.reshape(len(stored), -1).any(1)
    for name in recipe.batch:
        sensed = data.inputs[name].reshape(len(data), -1).any(1)
        if not (sensed & has_image).any():
            raise ValueError(
                f'no moment has {name} and an image: hub image needs both; '
                f'record more bags, or give --hub language'
            )
    found = frozen_vectors(
        [hashlib.sha256(one.tobytes()).hexdigest() for one in stored],
        lambda rows: embed_stored(encoder, stored[list(rows)]),
        maker=maker_of(encoder),
        ranks=ranks,
        cache=cache,
    )
    return found * torch.from_numpy(has_image)[:, None]


def image_encoder(start: Source) -> TowerEncoder:
    """Load the frozen image encoder of a model set.

    Raises:
        ValueError: The set has none, or one of a kind whose vectors cannot be a hub.
    """
    try:
        encoder = load_encoders(start, modalities=(IMAGE,)).encoders[IMAGE]
    except KeyError as error:
        raise ValueError(
            f'hub image: {error.args[0]}; give a start with an image encoder, or --hub language'
        ) from error
    if not isinstance(encoder, TowerEncoder):
        raise ValueError(f'hub image: the image encoder of {start} is of a kind that is no hub')
    return encoder


def frozen_vectors(
    digests: Sequence[str],
    embed: Callable[[Sequence[int]], NDArray[np.float32]],
    *,
    maker: str,
    ranks: Ranks,
    cache: Path | None,
) -> Tensor:
    """Vectors of images, float32 `[N, D]`, as far as possible from the cache.

    The values are those of float16, whether they come from the cache or not.

    Args:
        digests: Identities of the images.
        embed: Function from rows of `digests` to unit vectors.
        maker: Identity of the encoder; each has a file of its own.
        ranks: All processes; the first one writes.
        cache: Folder of the file; None keeps nothing.

    Raises:
        OSError: The folder cannot be written.
    """
    path = cache_file(cache, 'image', maker) if cache else None
    known = read_vectors(path) if path else {}
    # What the first process found, because it may already have written while another one read.
    known = gathered_objects([known] if ranks.first else [], ranks)[0]
    first_row = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    new = [digest for digest in first_row if digest not in known]
    for start in range(0, len(new), PART):
        part = new[start : start + PART]
        own = embed([first_row[digest] for digest in _share(part, ranks)])
        vectors = gathered_objects(list(own), ranks)
        add_vectors(known, part, np.stack(vectors), path if ranks.first else None)
    return torch.from_numpy(np.stack([known[digest] for digest in digests])).float()


def maker_of(encoder: TowerEncoder) -> str:
    """Identity of an encoder: its weights, its shape and its preprocessing."""
    digest = hashlib.sha256(repr((encoder.tower.config, encoder.config)).encode())
    for name, tensor in sorted(encoder.tower.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _image_digest(pair: Pair) -> str:
    own = [data for name, data in sorted(pair.files.items()) if name.split('.')[0] == IMAGE]
    return hashlib.sha256(b''.join(own)).hexdigest()


def _share(items: Sequence[Any], ranks: Ranks) -> Sequence[Any]:
    """This process's part of a sequence; the parts of all processes in order are the whole."""
    edges = [len(items) * rank // ranks.count for rank in (ranks.rank, ranks.rank + 1)]
    return items[edges[0] : edges[1]]
