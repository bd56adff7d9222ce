"""Random wordings of facts for a readout: what users ask, as pairs of sentence vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.language import Embed
from train.phrasings import Phrasings
from train.transformations import FactTexts, fact_texts
from train.vector_cache import embedded

MIXED = 4  # sentences in a mixture
MIXTURES, SINGLES = 0.3, 0.3  # shares of the draws; the others are statements and their denials


@dataclass(frozen=True, slots=True)
class AskedVectors:
    """Sentence vectors of `P` facts, and which of them are asked against each other.

    Attributes:
        vectors: float16 `[T, D]`, unit rows; the last `2 P` are mean vectors of phrasings.
        members: Rows of the sentences of each side of each fact, int64 `[2, P, K]`; a side with
            fewer than `K` repeats its own.
        counts: Number of different sentences, int64 `[2, P]`.
        pairs: Rows of a statement's sides, int64 `[R, 2, 2]`: positive and negative, two sentences
            each.
        first_pair: Index of the first pair of each fact, int64 `[P]`.
        pair_counts: Number of pairs of each fact, int64 `[P]`.
    """

    vectors: Tensor
    members: Tensor
    counts: Tensor
    pairs: Tensor
    first_pair: Tensor
    pair_counts: Tensor

    def draw(
        self, columns: Tensor, generator: torch.Generator, *, jitter: float = 0.15
    ) -> tuple[Tensor, Tensor]:
        """Draw a wording of each fact: float32 `[..., D]` positive and negative, unit rows.

        Three tenths are mixtures of phrasings against mixtures, three tenths single sentences
        against single ones, and four tenths a statement against its own denial or antonym.

        Args:
            columns: Facts, int64 of any shape; each occurrence gets a wording of its own.
            generator: Source of all random choices.
            jitter: Length of the noise relative to that of a sentence vector.
        """
        facts = columns.reshape(-1)
        rows, shares = self._choices(facts, generator)
        mixed = F.embedding_bag(
            rows.reshape(-1, MIXED),
            self.vectors,
            per_sample_weights=shares.reshape(-1, MIXED).half(),
            mode='sum',
        )
        mixed = F.normalize(mixed.float(), dim=-1)
        noise = torch.randn(mixed.shape, generator=generator)
        mixed.add_(noise, alpha=jitter / mixed.shape[1] ** 0.5)
        told = F.normalize(mixed, dim=-1).view(*columns.shape, 2, -1)
        return told[..., 0, :], told[..., 1, :]

    def _choices(self, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and their shares, `[N, 2, MIXED]`."""
        count = len(facts)
        kind = torch.rand(count, generator=generator)
        pick = torch.rand(count, 2, MIXED, generator=generator)
        counts = self.counts[:, facts].T.unsqueeze(-1)
        slots = (pick * counts).long().minimum(counts - 1)
        sides = torch.arange(2).view(1, 2, 1)
        rows = self.members[sides, facts.view(-1, 1, 1), slots]
        sharpness = 0.3 + 4.0 * torch.rand(count, 2, 1, generator=generator)
        shares = (torch.randn(count, 2, MIXED, generator=generator) * sharpness).softmax(-1)
        # Half of the mixtures contain the mean of all phrasings, which evaluation asks.
        has_mean = torch.rand(count, 1, generator=generator) < 0.5
        means = len(self.vectors) - 2 * self.counts.shape[1] + 2 * facts.unsqueeze(1)
        rows[:, :, 0] = torch.where(has_mean, means + torch.arange(2), rows[:, :, 0])

        is_single = (kind >= MIXTURES) & (kind < MIXTURES + SINGLES)
        only = torch.zeros(MIXED)
        only[1] = 1.0
        shares[is_single] = only

        paired = self.pair_counts[facts]
        is_pair = (kind >= MIXTURES + SINGLES) & (paired > 0)
        number = (torch.rand(count, generator=generator) * paired).long()
        number = (self.first_pair[facts] + number.minimum(paired - 1))[is_pair]
        halves = torch.zeros(MIXED)
        halves[:2] = 0.5
        rows[is_pair] = self.pairs[number].repeat(1, 1, MIXED // 2)
        shares[is_pair] = halves
        return rows, shares


def asked_vectors(
    predicates: Sequence[str],
    phrasings: Phrasings,
    embed: Embed,
    *,
    space: str,
    cache: Path | None = None,
    sentences: int = 30,
    with_denials: bool = True,
) -> AskedVectors:
    """Embed the training text of facts.

    Args:
        predicates: `relation(argument, ...)`, at least one.
        phrasings: Source of the sentences.
        embed: Function from sentences to unit vectors.
        space: Language space of `embed`.
        cache: Folder of the cache of vectors; None keeps nothing.
        sentences: Approximate number of sentences per fact.
        with_denials: See `train.transformations.fact_texts`.

    Raises:
        ValueError: There are no predicates, or too few sentences per fact.
        WordingError: A predicate has no phrasings.
    """
    if not predicates:
        raise ValueError('needs at least one predicate')
    facts = [
        fact_texts(name, phrasings, sentences=sentences, with_denials=with_denials)
        for name in predicates
    ]
    texts = list(dict.fromkeys(text for fact in facts for text in fact.texts))
    vectors = embedded(texts, embed, space=space, folder=cache)
    row = {text: index for index, text in enumerate(texts)}
    means = [
        vectors[[row[text] for text in side]].float().mean(0)
        for fact in facts
        for side in (fact.positive, fact.negative)
    ]
    pairs = [_pair_rows(fact, row) for fact in facts]
    pair_counts = torch.tensor([len(rows) for rows in pairs])
    flat = [rows for fact in pairs for rows in fact]
    members, counts = _members(facts, row)
    return AskedVectors(
        torch.cat([vectors, F.normalize(torch.stack(means), dim=-1).half()]),
        members,
        counts,
        torch.tensor(flat or np.zeros((0, 2, 2)), dtype=torch.int64),
        pair_counts.cumsum(0) - pair_counts,
        pair_counts,
    )


def _members(facts: Sequence[FactTexts], row: dict[str, int]) -> tuple[Tensor, Tensor]:
    sides = [
        [[row[text] for text in (*fact.positive, *fact.more_positive)] for fact in facts],
        [[row[text] for text in (*fact.negative, *fact.more_negative)] for fact in facts],
    ]
    longest = max(len(rows) for side in sides for rows in side)
    counts = torch.tensor([[len(rows) for rows in side] for side in sides])
    padded = [[(rows * longest)[:longest] for rows in side] for side in sides]
    return torch.tensor(padded), counts


def _pair_rows(fact: FactTexts, row: dict[str, int]) -> list[list[list[int]]]:
    return [
        [[row[side[0]], row[side[-1]]] for side in (pair.positive, pair.negative)]
        for pair in fact.pairs
    ]
