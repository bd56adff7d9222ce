"""What a text tower does not read is counted, and a predicate of it is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Binder, Predicate, PredicateBank, PredicateError
from encoders.model_sets.encoder import TextTower
from encoders.text.clip import VOCABULARY, ClipText, TextConfig, text_shapes
from encoders.text.minilm import forget_first, text_tower


def clip() -> TextTower:
    config = TextConfig(
        vocabulary=VOCABULARY, context=77, width=8, layers=1, heads=1, mlp_width=8, projection=8
    )
    generator = torch.Generator().manual_seed(0)
    shapes = text_shapes(config).items()
    return ClipText(config, {n: torch.randn(s, generator=generator) for n, s in shapes})


@pytest.mark.parametrize(
    ('tower', 'room'),
    [(lambda: text_tower('minilm-l6-v2'), 126), (clip, 75)],
    ids=['minilm', 'clip'],
)
def test_truncated_tokens_do_not_change_the_vector(tower: object, room: int) -> None:
    read_by = tower()  # type: ignore[operator]
    words = [f'{n % 10}' for n in range(room + 20)]
    lengths = (room, room + 1, room + 20)
    texts = [' '.join(words[:length]) for length in lengths]
    assert [read_by.unread(text) for text in texts] == [0, 1, 20]
    assert read_by.unread('the drawer is open') == 0
    # One by one, so that no padding makes a difference.
    vectors = [read_by.embed([text]) for text in texts]
    for one, other in pairwise(vectors):
        np.testing.assert_array_equal(one, other)
    shorter = read_by.embed([' '.join(words[: room - 1])])
    assert np.abs(shorter - vectors[0]).max() > 1e-6


def test_predicates_with_truncated_or_too_many_prompts_are_refused(tiny_model_set: Path) -> None:
    binder = Binder.load(tiny_model_set, modalities=['image'])
    bank = PredicateBank([], binder)
    long = Predicate('long', ('7 ' * 150,), ('it is short',))
    refused = bank.try_extend([Predicate.from_sentence('it is hot'), long])
    assert list(refused) == ['long']
    assert 'would not read the last 24 tokens' in refused['long']
    assert not bank.predicates
    with pytest.raises(PredicateError, match='1001 sentences are more than 1000'):
        Predicate('crowd', ('it is full',) * 1001, ('it is empty',))


def test_the_text_cache_evicts_the_oldest_vectors() -> None:
    known = {name: np.zeros(1, np.float32) for name in 'abcd'}
    forget_first(known, 3)
    assert list(known) == ['b', 'c', 'd']
    forget_first(known, 3)
    assert list(known) == ['b', 'c', 'd']
