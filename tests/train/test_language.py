"""The text side of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from train.language import FactVectors, fact_vectors
from train.phrasings import Phrasings, Wording

PHRASINGS = Phrasings(
    relations={
        'open': Wording(
            ('the {x} is open', 'an open {x}', 'the {x} is ajar'), ('the {x} is shut',)
        ),
        'hot': Wording(('the {x} is hot',), ('the {x} is cold', 'a cold {x}')),
    },
    objects={'stove': ('cooker', 'hob')},
)
PREDICATES = ('open(drawer)', 'hot(stove)')


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Any vector will do, as long as a sentence always has the same."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=64) for text in texts]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def test_contrast_is_mean_positive_minus_mean_negative() -> None:
    contrasts = fact_vectors(PREDICATES, PHRASINGS, embed).contrasts().numpy()
    for row, name in enumerate(PREDICATES):
        sentences = PHRASINGS.sentences(name)
        expected = embed(sentences.positive).mean(0) - embed(sentences.negative).mean(0)
        np.testing.assert_allclose(
            contrasts[row], expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6
        )


def test_synonyms_add_sentences() -> None:
    plain, more = (fact_vectors(PREDICATES, PHRASINGS, embed, synonyms=n) for n in (0, 2))
    assert plain.positive_count.tolist() == [3, 1]
    assert more.positive_count.tolist() == [3, 3]


def test_limit_draws_the_same_sentences_every_time() -> None:
    first, second = (fact_vectors(PREDICATES, PHRASINGS, embed, limit=2) for _ in range(2))
    assert first.positive_count.tolist() == [2, 1]
    assert torch.equal(first.positive, second.positive)


def test_unknown_relation_is_named() -> None:
    with pytest.raises(KeyError, match='spinning'):
        fact_vectors(['spinning(top)'], PHRASINGS, embed)


def mixtures(facts: FactVectors, *, jitter: float, count: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([facts.mixed(generator, jitter=jitter)[0] for _ in range(count)])


def test_mixtures_have_unit_length_and_stay_among_the_sentences_of_their_fact() -> None:
    facts = fact_vectors(PREDICATES, PHRASINGS, embed)
    mixed = mixtures(facts, jitter=0.0)
    torch.testing.assert_close(mixed.norm(dim=-1), torch.ones(50, 2))
    # A fact with a single sentence can only be worded as that one, whatever the padding holds.
    torch.testing.assert_close(mixed[:, 1], facts.positive[1, :1].expand(50, -1))
    basis = facts.positive[0]
    solved = torch.linalg.lstsq(basis.T, mixed[:, 0].T).solution
    torch.testing.assert_close((basis.T @ solved).T, mixed[:, 0], atol=1e-4, rtol=1e-4)
    assert (solved > -1e-4).all()


def test_mixtures_differ_from_step_to_step_and_reach_single_sentences() -> None:
    facts = fact_vectors(PREDICATES, PHRASINGS, embed)
    mixed = mixtures(facts, jitter=0.0, count=200)[:, 0]
    nearest = (mixed @ facts.positive[0].T).max(1)
    assert set(nearest.indices.tolist()) == {0, 1, 2}
    assert nearest.values.max() > 0.97
    assert nearest.values.min() < 0.85


def test_jitter_is_relative_to_the_length_of_a_sentence_vector() -> None:
    facts = fact_vectors(PREDICATES, PHRASINGS, embed)
    one_sentence = mixtures(facts, jitter=0.5, count=400)[:, 1] @ facts.positive[1, 0]
    assert one_sentence.mean().item() == pytest.approx(1 / (1 + 0.5**2) ** 0.5, abs=0.01)
