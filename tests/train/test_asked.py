"""Random wordings of facts for a readout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoders.predicates.wording import is_denied
from train.asked import AskedVectors, asked_vectors
from train.phrasings import Phrasings
from train.transformations import fact_texts
from train.vector_cache import embedded

PHRASINGS = Phrasings.load('trained')
PREDICATES = ('open(top drawer)', 'in(black bowl, top drawer)', 'holding(something)', 'hot(stove)')


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Any vector will do, as long as a sentence always has the same."""
    seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
    rows = [np.random.default_rng(seed).normal(size=64) for seed in seeds]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.fixture(scope='module')
def asked() -> AskedVectors:
    return asked_vectors(PREDICATES, PHRASINGS, embed, space='test')


def draw(asked: AskedVectors, fact: int, count: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return asked.draw(torch.full((count,), fact), generator, jitter=0.0)


def test_wordings_have_the_shape_of_the_facts_and_unit_length(asked: AskedVectors) -> None:
    columns = torch.tensor([[0, 1, 2], [3, 3, 0]])
    for side in asked.draw(columns, torch.Generator().manual_seed(0)):
        assert side.shape == (2, 3, 64)
        assert side.dtype == torch.float32
        torch.testing.assert_close(side.norm(dim=-1), torch.ones(2, 3))


def test_the_generator_decides_everything(asked: AskedVectors) -> None:
    columns = torch.arange(4).repeat(50)
    one, two, three = (asked.draw(columns, torch.Generator().manual_seed(n)) for n in (5, 5, 6))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], three[0])


@pytest.mark.parametrize('fact', range(len(PREDICATES)))
def test_every_wording_is_made_of_sentences_of_its_side(asked: AskedVectors, fact: int) -> None:
    texts = fact_texts(PREDICATES[fact], PHRASINGS)
    for index, vectors in enumerate(draw(asked, fact)):
        told = (
            {*texts.positive, *texts.more_positive}
            if index == 0
            else {*texts.negative, *texts.more_negative}
        )
        told |= {text for pair in texts.pairs for text in pair.sides[index]}
        basis = torch.from_numpy(embed(sorted(told)))
        solved = torch.linalg.lstsq(basis.T, vectors.T).solution
        torch.testing.assert_close((basis.T @ solved).T, vectors, atol=5e-3, rtol=0)
        assert (solved > -5e-3).all()


def test_a_statement_is_often_asked_against_its_own_denial(asked: AskedVectors) -> None:
    texts = fact_texts(PREDICATES[0], PHRASINGS)
    positive, negative = draw(asked, 0, 2000)

    def is_asked(vectors: torch.Tensor, side: tuple[str, ...]) -> torch.Tensor:
        mean = embed(side).mean(0)
        return (vectors @ torch.from_numpy(mean / np.linalg.norm(mean))) > 0.999

    hits = torch.zeros(2000, dtype=torch.bool)
    for pair in texts.pairs:
        hits |= is_asked(positive, pair.positive) & is_asked(negative, pair.negative)
    assert 0.35 < hits.float().mean() < 0.5


def test_without_denials_none_is_embedded() -> None:
    told: list[str] = []

    def noted(texts: Sequence[str]) -> NDArray[np.float32]:
        told.extend(texts)
        return embed(texts)

    asked = asked_vectors(PREDICATES, PHRASINGS, noted, space='test', with_denials=False)
    assert len(asked.vectors) == len(told) + 2 * len(PREDICATES)
    assert not any(map(is_denied, told))


def test_single_sentences_are_about_half(asked: AskedVectors) -> None:
    positive, _ = draw(asked, 1, 2000)
    singles = (positive @ asked.vectors[: -2 * len(PREDICATES)].float().T).max(1).values > 0.999
    assert 0.45 < singles.float().mean() < 0.8


def test_jitter_is_relative_to_the_length_of_a_sentence_vector(asked: AskedVectors) -> None:
    columns = torch.zeros(500, dtype=torch.int64)
    still, moved = (
        asked.draw(columns, torch.Generator().manual_seed(2), jitter=jitter)[0]
        for jitter in (0.0, 0.5)
    )
    assert (still * moved).sum(-1).mean().item() == pytest.approx(1 / 1.25**0.5, abs=0.02)


def test_nothing_to_ask_is_refused() -> None:
    with pytest.raises(ValueError, match='predicate'):
        asked_vectors((), PHRASINGS, embed, space='test')


class Counted:
    """An embedding that counts its sentences."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.count += len(texts)
        return embed(texts)


def test_a_second_run_embeds_only_what_is_new(tmp_path: Path) -> None:
    tower = Counted()
    first = embedded(['a', 'b', 'a'], tower, space='one', folder=tmp_path)
    assert tower.count == 2
    second = embedded(['b', 'c', 'a'], tower, space='one', folder=tmp_path)
    assert tower.count == 3
    assert torch.equal(first[0], second[2])
    assert torch.equal(first[1], second[0])
    embedded(['a'], tower, space='another', folder=tmp_path)
    assert tower.count == 4
    assert first.dtype == torch.float16


def test_a_damaged_cache_is_replaced(tmp_path: Path) -> None:
    tower = Counted()
    expected = embedded(['a', 'b'], tower, space='one', folder=tmp_path)
    (path,) = tmp_path.iterdir()
    for content in (b'', b'nothing', path.read_bytes()[:-3]):
        path.write_bytes(content)
        assert torch.equal(embedded(['a', 'b'], tower, space='one', folder=tmp_path), expected)
    assert tower.count == 8


def test_the_cache_changes_no_wording(tmp_path: Path) -> None:
    one, two, three = (
        asked_vectors(PREDICATES, PHRASINGS, embed, space='one', cache=folder)
        for folder in (tmp_path, tmp_path, None)
    )
    columns = torch.arange(4)
    told = [a.draw(columns, torch.Generator().manual_seed(0)) for a in (one, two, three)]
    assert torch.equal(told[0][0], told[1][0])
    assert torch.equal(told[0][1], told[2][1])
