"""What a training step of readouts asks, and where the attention is told to look."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders.vision.readout import Readout, ReadoutConfig
from train.asked import AskedVectors, asked_vectors
from train.bags.samples import UNKNOWN, Samples
from train.phrasings import Phrasings
from train.training.readout_batch import Questions, Sense, draw_questions, sense
from train.training.readout_loss import question_loss, rival_loss
from train.training.readout_tokens import BagTokens, TokenData

PREDICATES = (
    'holding(something)',
    'in(bowl, drawer)',
    'on(bowl, stove)',
    'open(drawer)',
    'in(cup, drawer)',
)
NAMES = ('bowl', 'drawer', 'gripper')
GRID = (4, 4)
SIZE, TOKENS = 8, 17


def small_data(*, bags: int = 2, count: int = 6, seed: int = 0) -> TokenData:
    """Bags of random tokens; the bowl is the upper left corner, the drawer the lower half."""
    rng = np.random.default_rng(seed)
    total = bags * count
    truth = rng.integers(0, 2, (total, len(PREDICATES))).astype(np.int8)
    truth[:count, 1] = UNKNOWN
    truth[0], truth[-1] = 0, 1
    labels = np.zeros((1, count, 64, 64), np.uint8)
    labels[..., :32, :32] = 1
    labels[..., 32:, :] = 2
    labels[:, 0] = 0
    return TokenData(
        samples=Samples(
            inputs={'depth': np.ones(total, bool)},
            truth=truth,
            predicates=PREDICATES,
            bag=np.repeat(np.arange(bags), count),
            times_s=np.zeros(total),
            bags=tuple(map(str, range(bags))),
            regions=np.zeros((total, 64, 64), np.uint8),
            region_names=(),
        ),
        bags={
            'depth': [
                BagTokens(
                    torch.from_numpy(rng.normal(size=(1, count, TOKENS, SIZE))).half(),
                    torch.from_numpy(labels),
                    NAMES,
                )
                for _ in range(bags)
            ]
        },
        in_view=truth,
    )


@cache
def some_wordings() -> AskedVectors:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(list(text.encode())).normal(size=SIZE) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    phrasings = Phrasings.load('trained')
    return asked_vectors(PREDICATES, phrasings, embed, space='drawn', sentences=8)


def sensed(data: TokenData, *, grid: tuple[int, int] | None = GRID) -> Sense:
    return sense(data, 'depth', relations={'in': 3.0}, other_relations=0.5, grid=grid)


def drawn(
    data: TokenData, found: Sense, *, seed: int = 0, batch: int = 8, rivals: int = 0
) -> Questions:
    generator = torch.Generator().manual_seed(seed)
    return draw_questions(
        data, found, some_wordings(), generator, batch=batch, facts=6, rivals=rivals, jitter=0.1
    )


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_only_known_facts_are_asked_and_with_their_truth(seed: int) -> None:
    data = small_data(seed=seed % 7)
    questions = drawn(data, sensed(data), seed=seed)
    truth = torch.from_numpy(data.samples.truth)[questions.rows]
    picked = questions.columns[questions.asked]
    torch.testing.assert_close(truth.gather(1, picked).float(), questions.truth)
    assert float(questions.weights.mean()) == pytest.approx(1.0)
    torch.testing.assert_close(questions.positive.norm(dim=-1), torch.ones(len(questions.columns)))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_true_fact_is_listed_before_false_ones_that_differ_in_one_argument(seed: int) -> None:
    data = small_data(seed=seed % 7)
    questions = drawn(data, sensed(data), seed=seed, batch=16, rivals=2)
    facts, truth = questions.columns[questions.asked][:, 6:], questions.truth[:, 6:]
    known = torch.from_numpy(data.samples.truth)[questions.rows]
    for sample in range(16):
        listed = questions.listed[sample]
        both = {int(known[sample, 1]), int(known[sample, 4])} == {0, 1}
        assert int(listed.sum()) == (2 if both else 0)
        if both:
            assert listed[0]
            assert {PREDICATES[k] for k in facts[sample][listed]} == {
                'in(bowl, drawer)',
                'in(cup, drawer)',
            }
            assert truth[sample][listed].tolist() == [1.0, 0.0]
    assert not drawn(data, sensed(data), seed=seed).listed.numel()


def test_the_loss_of_rivals_is_the_cross_entropy_of_the_listed_ones() -> None:
    log_odds = torch.tensor([[1.0, 0.0, 9.0], [5.0, 5.0, 5.0], [2.0, 1.0, 3.0]])
    listed = torch.tensor([[True, True, False], [False] * 3, [True] * 3])
    exact = -torch.log_softmax(torch.tensor([1.0, 0.0]), 0)[0]
    exact = exact - torch.log_softmax(torch.tensor([2.0, 1.0, 3.0]), 0)[0]
    torch.testing.assert_close(rival_loss(log_odds, listed), exact)
    assert float(rival_loss(log_odds, torch.zeros(3, 3, dtype=torch.bool))) == 0.0


def test_a_sensor_that_was_not_recorded_is_not_asked() -> None:
    data = small_data()
    data.samples.inputs['depth'][:6] = False
    assert sensed(data).rows.min() >= 6


def test_the_attention_is_told_to_look_at_the_visible_arguments() -> None:
    data = small_data()
    found = sensed(data)
    questions = drawn(data, found, batch=64)
    assert questions.targets is not None
    maps = questions.targets.view(64, 2, 6, *GRID)
    for sample, row in enumerate(questions.rows.tolist()):
        for number, fact in enumerate(questions.columns[questions.asked[sample]].tolist()):
            first, second = maps[sample, 0, number], maps[sample, 1, number]
            name = PREDICATES[fact]
            if row % 6 == 0:  # the first sample of each bag shows no part
                assert not first.any()
                assert not second.any()
            elif name == 'in(bowl, drawer)':
                assert first.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
                assert second[2:].all()
                assert not second[:2].any()
            elif name == 'holding(something)':  # the gripper is out of view
                assert not first.any()
            elif name == 'open(drawer)':
                assert first[2:].all()
                assert not second.any()
    assert drawn(data, sensed(data, grid=None)).targets is None


def test_the_loss_is_that_of_its_parts_and_trains_the_attention() -> None:
    data = small_data()
    questions = drawn(data, sensed(data), batch=32, rivals=2)
    assert questions.listed.any()
    config = ReadoutConfig(SIZE, TOKENS, width=8, heads=2, text_width=SIZE, text_hidden=8)
    torch.manual_seed(0)
    readout = Readout(config)
    tokens = data.tokens('depth', questions.rows, questions.copies).float()

    def loss(mine: slice, weight: float = 0.3) -> torch.Tensor:
        return question_loss(
            readout,
            questions,
            tokens[mine],
            mine=mine,
            rival_weight=0.5,
            attention_weight=weight,
            bf16=False,
        )

    halves = loss(slice(0, 16)) + loss(slice(16, 32))
    torch.testing.assert_close(halves, loss(slice(0, 32)))
    optimizer = torch.optim.Adam(readout.parameters(), lr=0.02)

    @torch.no_grad()
    def missed() -> float:
        return float(loss(slice(0, 32)) - loss(slice(0, 32), 0.0))

    before = missed()
    for _ in range(60):
        optimizer.zero_grad()
        loss(slice(0, 32)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert missed() < 0.5 * before
