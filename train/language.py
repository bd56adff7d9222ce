"""The text side of training: many sentences per fact, mixed at random in every step."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from encoders.model_sets.anchors import Facts
from encoders.predicates.wording import Sides, sides_of_lists
from train.phrasings import Phrasings

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class FactVectors:
    """Sentence vectors of `P` predicates, padded to `K` sentences per side.

    Attributes:
        positive, negative: float32 `[P, K, D]`, unit rows, zero where padded.
        positive_count, negative_count: `[P]` number of sentences without padding.
    """

    positive: Tensor
    negative: Tensor
    positive_count: Tensor
    negative_count: Tensor

    def contrasts(self) -> Tensor:
        """Mean positive minus mean negative, unit length, `[P, D]`: the prompt ensemble."""
        positive, negative = self._sides()
        return F.normalize(positive - negative, dim=-1)

    def means(self) -> tuple[Tensor, Tensor]:
        """Mean positive and mean negative sentence, unit length, `[P, D]` each."""
        positive, negative = self._sides()
        return F.normalize(positive, dim=-1), F.normalize(negative, dim=-1)

    def _sides(self) -> tuple[Tensor, Tensor]:
        positive = self.positive.sum(1) / self.positive_count[:, None]
        negative = self.negative.sum(1) / self.negative_count[:, None]
        return positive, negative

    def facts(self) -> Facts:
        """The facts and their opposites in the form that calibration uses."""
        positive, negative = self.means()
        return Facts.of(positive.numpy(), negative.numpy(), self.contrasts().numpy())

    def of(self, columns: Tensor) -> FactVectors:
        """Select predicates by index, int64 `[Q]`."""
        return FactVectors(
            self.positive[columns],
            self.negative[columns],
            self.positive_count[columns],
            self.negative_count[columns],
        )

    def mixed(self, generator: torch.Generator, *, jitter: float) -> tuple[Tensor, Tensor]:
        """Draw a random wording of every fact: `[P, D]` positive and negative, unit length.

        Each wording is a random convex mixture of its sentences, from one to nearly all of them,
        plus noise of relative size `jitter`, so that the model learns the meaning and not the
        wording.
        """
        sides = []
        for vectors, count in (
            (self.positive, self.positive_count),
            (self.negative, self.negative_count),
        ):
            mask = torch.arange(vectors.shape[1]) < count[:, None]
            sharpness = 0.3 + 4.0 * torch.rand(len(count), 1, generator=generator)
            draw = torch.randn(mask.shape, generator=generator) * sharpness
            share = draw.masked_fill(~mask, -torch.inf).softmax(-1)
            mixture = (share.unsqueeze(-1) * vectors).sum(1)
            noise = torch.randn(mixture.shape, generator=generator) * jitter
            sides.append(F.normalize(mixture + noise / mixture.shape[1] ** 0.5, dim=-1))
        return sides[0], sides[1]


def fact_vectors(
    predicates: Sequence[str],
    phrasings: Phrasings,
    embed: Embed,
    *,
    synonyms: int = 0,
    limit: int | None = None,
    as_sides: bool = False,
) -> FactVectors:
    """Embed the sentences of all predicates.

    Args:
        predicates: `relation(argument, ...)`.
        phrasings: Source of the sentences.
        embed: Function from sentences to unit vectors.
        synonyms: Number of other names of each argument to use in addition to its own.
        limit: Largest number of sentences per side, drawn with a fixed seed; None for all.
        as_sides: Put them as a readout is asked (`encoders.predicates.wording.sides_of_lists`).

    Raises:
        KeyError: A predicate has no phrasings.
    """
    sentences = [phrasings.sentences(name, synonyms=synonyms) for name in predicates]
    pairs: list[Sides] = [(s.positive, s.negative) for s in sentences]
    if as_sides:
        pairs = [sides_of_lists(*pair) for pair in pairs]
    sides = []
    for all_texts in ([pair[0] for pair in pairs], [pair[1] for pair in pairs]):
        texts = [_some(group, limit) for group in all_texts]
        longest = max(len(group) for group in texts)
        flat = embed([text for group in texts for text in group])
        padded = np.zeros((len(texts), longest, flat.shape[1]), np.float32)
        start = 0
        for row, group in enumerate(texts):
            padded[row, : len(group)] = flat[start : start + len(group)]
            start += len(group)
        sides.append((torch.from_numpy(padded), torch.tensor([float(len(g)) for g in texts])))
    (positive, positive_count), (negative, negative_count) = sides
    return FactVectors(positive, negative, positive_count, negative_count)


def name_vectors(names: Sequence[str], phrasings: Phrasings, embed: Embed) -> Tensor:
    """Embed names of things: float32 `[N, K, D]`, unit rows, for `K` patterns each."""
    texts = [phrasings.named(name) for name in names]
    flat = torch.from_numpy(embed([text for group in texts for text in group]))
    return flat.view(len(names), len(phrasings.names), flat.shape[-1])


def _some(sentences: Sequence[str], limit: int | None) -> list[str]:
    if limit is None or len(sentences) <= limit:
        return list(sentences)
    return random.Random(sentences[0]).sample(sentences, limit)
