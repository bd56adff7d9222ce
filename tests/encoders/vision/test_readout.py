"""The readout: exclusive by construction, and the shapes that others rely on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.vision.readout import Queries, Readout, ReadoutConfig, mean_over_frames
from tests.readouts import random_readout

CONFIG = ReadoutConfig(
    token_width=24, tokens=10, width=16, heads=2, layers=2, text_width=32, text_hidden=20
)


def texts(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randn(2, count, CONFIG.text_width, generator=generator)
    return sides[0], sides[1]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), count=st.integers(1, 9), batch=st.integers(1, 3))
def test_exchanging_the_sides_negates_the_odds_exactly(seed: int, count: int, batch: int) -> None:
    readout = random_readout(CONFIG, seed=seed)
    reduced = readout.reduce(torch.randn(batch, CONFIG.tokens, CONFIG.token_width))
    positive, negative = texts(count, seed)
    one, where = readout(reduced, readout.ask(positive, negative))
    other, there = readout(reduced, readout.ask(negative, positive))
    assert torch.equal(one, -other)
    assert torch.equal(where, there)
    assert float(one.abs().max()) > 0
    torch.testing.assert_close(one.sigmoid() + other.sigmoid(), torch.ones_like(one))


def test_shapes_and_bounds() -> None:
    readout = random_readout(CONFIG)
    reduced = readout.reduce(torch.randn(3, CONFIG.tokens, CONFIG.token_width))
    assert reduced.shape == (3, CONFIG.tokens, CONFIG.width)
    queries = readout.ask(*texts(5))
    torch.testing.assert_close(queries.directions.norm(dim=-1), torch.ones(5))
    odds, attention = readout(reduced, queries)
    assert odds.shape == (3, 5)
    assert float(odds.abs().max()) <= float(readout.log_scale.exp()) + 1e-5
    assert attention.shape == (3, CONFIG.heads, 5, CONFIG.tokens)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, CONFIG.heads, 5))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), count=st.integers(1, 9), batch=st.integers(1, 3))
def test_prepared_predicates_are_read_alike(seed: int, count: int, batch: int) -> None:
    readout = random_readout(CONFIG, seed=seed)
    reduced = readout.reduce(torch.randn(batch, CONFIG.tokens, CONFIG.token_width))
    queries = readout.ask(*texts(count, seed))
    found = readout.read(reduced, readout.prepare(queries))
    torch.testing.assert_close(found, readout(reduced, queries)[0], atol=2e-5, rtol=1e-5)


def test_samples_may_be_asked_different_questions() -> None:
    readout = random_readout(CONFIG)
    reduced = readout.reduce(torch.randn(2, CONFIG.tokens, CONFIG.token_width))
    queries = readout.ask(*texts(6))
    both = readout(reduced, Queries(*(rows.unflatten(0, (2, 3)) for rows in queries)))[0]
    for row in range(2):
        asked = Queries(*(rows[3 * row : 3 * row + 3] for rows in queries))
        torch.testing.assert_close(both[row], readout(reduced[row : row + 1], asked)[0][0])


def test_sides_that_mean_the_same_give_no_evidence() -> None:
    readout = random_readout(CONFIG)
    reduced = readout.reduce(torch.randn(1, CONFIG.tokens, CONFIG.token_width))
    positive, _ = texts(3)
    assert torch.equal(readout(reduced, readout.ask(positive, positive))[0], torch.zeros(1, 3))


def test_every_parameter_learns() -> None:
    readout = random_readout(CONFIG).requires_grad_(True)
    reduced = readout.reduce(torch.randn(2, CONFIG.tokens, CONFIG.token_width))
    odds, _ = readout(reduced, readout.ask(*texts(4)))
    odds.square().sum().backward()
    silent = [
        name
        for name, parameter in readout.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert silent == []


def test_an_untrained_readout_compares_with_the_contrast_of_the_text() -> None:
    torch.manual_seed(0)
    positive, negative = texts(4)
    directions = Readout(CONFIG).ask(positive, 3 * negative).directions
    yes, no = (torch.nn.functional.normalize(side, dim=-1) for side in (positive, negative))
    contrast = torch.nn.functional.normalize(yes - no, dim=-1)
    torch.testing.assert_close(directions, contrast)


def test_tokens_of_a_clip_are_averaged_over_its_frames() -> None:
    tokens = torch.randn(6, 10, 4)
    found = mean_over_frames(tokens, 3)
    assert found.shape == (2, 10, 4)
    torch.testing.assert_close(found[1], tokens[3:].mean(dim=0))
    assert mean_over_frames(tokens, 1) is tokens


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'heads': 3}, 'width 16 is not divisible by 3 heads'),
        ({'layers': 0}, 'layers must be a whole number of at least 1, not 0'),
        ({'width': 16.0}, 'width must be a whole number'),
    ],
)
def test_an_impossible_shape_is_refused(change: dict[str, int], message: str) -> None:
    shape = {'token_width': 8, 'tokens': 5, 'width': 16, 'heads': 2} | change
    with pytest.raises(ValueError, match=message):
        ReadoutConfig(**shape)
