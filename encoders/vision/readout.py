"""A readout: the text asks the tokens of one modality, instead of the pooled vector.

A pooled vector holds what fills the view and loses relations of small objects, which the tokens of
the last block still hold. A readout is a small cross-attention: its queries come from the two
sides of a predicate, its keys and values from the tokens, and its answer is a vector of the
language space, compared with the direction from the negative to the positive side.

A predicate and its exchanged sides are exactly exclusive by construction. With `c = unit(p - n)`
and `m = unit(p + n)`, the state of the query is an even function of `c` and the direction an odd
one, so that exchanging the unit vectors `p` and `n` negates the log-odds and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.transformer import check_transformer

# Logarithm of the factor of the cosine at the start of training.
LOG_SCALE_START = 2.0
POSITION_STD = 0.02
# Smallest squared length of an answer, against division by zero.
SMALLEST_SQUARE = 1e-12


@dataclass(frozen=True, slots=True)
class ReadoutConfig:
    """Shape of the readout of one modality.

    Attributes:
        token_width: Width of the tower's tokens.
        tokens: Number of tokens of a sample: the class token and the patches.
        width: Width of the reduced tokens and of the attention.
        heads: Heads of the attention; divides `width`.
        layers: Cross-attention blocks.
        text_width: Number of dimensions of the language space.
        text_hidden: Width of the hidden layer of the networks that read the text.
    """

    token_width: int
    tokens: int
    width: int = 96
    heads: int = 4
    layers: int = 1
    text_width: int = 384
    text_hidden: int = 256

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f'{name} must be a whole number of at least 1, not {value!r}')
        check_transformer(self.width, self.heads, 'gelu')


class Queries(NamedTuple):
    """`P` predicates as a readout asks them; computed once per text.

    Attributes:
        states: float32 `[P, width]`, the queries of the first block.
        directions: float32 `[P, text_width]`, unit length: from the negative to the positive side.
    """

    states: Tensor
    directions: Tensor


class Prepared(NamedTuple):
    """`P` predicates and everything that `Readout.read` needs of them, without the network.

    The cosine of an answer `W x + b` with a direction `d` needs only products of `x` with vectors
    of its own small width, which are computed once per text.

    Attributes:
        states: float32 `[1, P, width]`.
        query: Queries of the first block, float32 `[1, heads, P, width / heads]`.
        towards: `W^T d`, scaled, float32 `[P, width]`.
        offset: `b . d`, scaled, float32 `[P]`.
        square: `W^T W`, float32 `[width, width]`.
        tilt: `2 W^T b`, float32 `[width]`.
        length: `b . b`, float32 scalar.
    """

    states: Tensor
    query: Tensor
    towards: Tensor
    offset: Tensor
    square: Tensor
    tilt: Tensor
    length: Tensor


class Reducer(nn.Module):
    """The sensor side: tokens to a smaller width, with learned positions."""

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.token_width)
        self.linear = nn.Linear(config.token_width, config.width)
        self.positions = nn.Parameter(torch.empty(config.tokens, config.width))
        nn.init.normal_(self.positions, std=POSITION_STD)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[B, N, token_width]` to float32 `[B, N, width]`."""
        reduced: Tensor = self.linear(self.norm(tokens.float())) + self.positions
        return reduced


class Block(nn.Module):
    """One pre-LayerNorm block of cross-attention from queries to reduced tokens."""

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.heads = config.heads
        width = config.width
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _mlp(width, 2 * width, width)

    def forward(
        self, states: Tensor, reduced: Tensor, *, query: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One block.

        Args:
            states: float `[B or 1, P, width]`; 1 if all samples are asked the same.
            reduced: float `[B, N, width]`.
            query: `ask(states)`, if it is known.

        Returns:
            States `[B, P, width]`, and the attention `[B, heads, P, N]`.
        """
        key, value = self.key_value(reduced).chunk(2, dim=-1)
        asking = self.ask(states) if query is None else query
        attention = (asking @ self._split(key).transpose(-1, -2)).softmax(-1)
        mixed = (attention @ self._split(value)).transpose(1, 2).flatten(2)
        states = states + self.out(mixed)
        return states + self.mlp(self.norm2(states)), attention

    def ask(self, states: Tensor) -> Tensor:
        """States `[B, P, width]` to scaled queries `[B, heads, P, width / heads]`."""
        query = self._split(self.query(self.norm1(states)))
        scale: float = query.shape[-1] ** -0.5
        return query * scale

    def _split(self, rows: Tensor) -> Tensor:
        """`[B, N, width]` to `[B, heads, N, width / heads]`."""
        batch, count, width = rows.shape
        return rows.view(batch, count, self.heads, width // self.heads).transpose(1, 2)


class Readout(nn.Module):
    """The readout of one modality: tokens and text to log-odds.

    Attributes:
        config: Its shape.
        reducer: The sensor side, which may run on the device of the tower.
    """

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        text, hidden = config.text_width, config.text_hidden
        self.reducer = Reducer(config)
        self.middle = nn.Linear(text, config.width)
        self.state = _mlp(2 * text, hidden, config.width)
        # A last bias would cancel, because only an odd function of the contrast is used.
        self.turn = _mlp(2 * text, hidden, text, bias=False)
        # At the start the direction is the contrast of the text itself.
        nn.init.zeros_(cast('nn.Linear', self.turn[2]).weight)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, text)
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE_START))

    def reduce(self, tokens: Tensor) -> Tensor:
        """Reduce a sample's tokens, once per sample.

        Args:
            tokens: Tokens of the last block, float `[B, N, token_width]`; of a video clip, their
                mean over frames (`mean_over_frames`).

        Returns:
            float32 `[B, N, width]`.
        """
        reduced: Tensor = self.reducer(tokens)
        return reduced

    def ask(self, positive: Tensor, negative: Tensor) -> Queries:
        """The queries of predicates, once per text.

        Args:
            positive: Mean vectors of the positive sentences, float `[..., P, D]`, of any length.
            negative: Mean vectors of the negative sentences, same shape.

        Returns:
            Queries of the same leading dimensions. Exchanging the sides negates the directions.
        """
        yes, no = F.normalize(positive, dim=-1), F.normalize(negative, dim=-1)
        contrast, middle = F.normalize(yes - no, dim=-1), F.normalize(yes + no, dim=-1)
        # Values of about 1/4, whatever the width of the text.
        size = self.config.text_width**0.5 / 4
        # Two calls of equal shape, so that exchanged sides give the same bits.
        forth = torch.cat([contrast, middle], dim=-1) * size
        back = torch.cat([-contrast, middle], dim=-1) * size
        states = self.middle(middle * size) + (self.state(forth) + self.state(back))
        turned = contrast + (self.turn(forth) - self.turn(back))
        return Queries(states, F.normalize(turned, dim=-1))

    def forward(self, reduced: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
        """Ask the tokens.

        Args:
            reduced: Result of `reduce`, float32 `[B, N, width]`.
            queries: Result of `ask`; the same for all samples, `[P, ...]`, or those of each
                sample, `[B, P, ...]`.

        Returns:
            Log-odds before calibration, float32 `[B, P]`, and the attention of the first block,
            float32 `[B, heads, P, N]`.
        """
        answers, attention = self.answer(reduced, queries)
        return self.compare(answers, queries), attention

    def compare(self, answers: Tensor, queries: Queries) -> Tensor:
        """Log-odds `[B, P]` of answers `[B, P, text_width]`: how much they say so."""
        odds: Tensor = self.log_scale.exp() * (answers * queries.directions).sum(-1)
        return odds

    def answer(self, reduced: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
        """What the text gets back, before it is compared with its direction.

        Args:
            reduced: As for `forward`.
            queries: As for `forward`.

        Returns:
            Vectors float32 `[B, P, text_width]`, unit length, the same for exchanged sides, and
            the attention of the first block, float32 `[B, heads, P, N]`.
        """
        shared = queries.states.ndim == 2
        states = queries.states.unsqueeze(0) if shared else queries.states
        first: Tensor | None = None
        for block in self.blocks:
            states, attention = block(states, reduced)
            first = attention if first is None else first
        assert first is not None
        return F.normalize(self.project(self.norm(states)), dim=-1), first

    def prepare(self, queries: Queries) -> Prepared:
        """What `read` needs of predicates `[P, ...]`, once per text."""
        states = queries.states.unsqueeze(0)
        weight, bias, scale = self.project.weight, self.project.bias, self.log_scale.exp()
        return Prepared(
            states=states,
            query=cast('Block', self.blocks[0]).ask(states),
            towards=scale * queries.directions @ weight,
            offset=scale * queries.directions @ bias,
            square=weight.T @ weight,
            tilt=2 * weight.T @ bias,
            length=bias @ bias,
        )

    def read(self, reduced: Tensor, prepared: Prepared) -> Tensor:
        """The log-odds of `forward`, up to rounding, `[B, N, width]` to `[B, P]`."""
        states, query = prepared.states, prepared.query
        for index, block in enumerate(self.blocks):
            states, _ = block(states, reduced, query=None if index else query)
        states = self.norm(states)
        along = (states * prepared.towards).sum(-1) + prepared.offset
        square = (states * (states @ prepared.square + prepared.tilt)).sum(-1) + prepared.length
        odds: Tensor = along * square.clamp_min(SMALLEST_SQUARE).rsqrt()
        return odds


def mean_over_frames(tokens: Tensor, frames: int) -> Tensor:
    """Tokens of a tower, `[B * frames, N, width]`, to those of its samples, `[B, N, width]`."""
    if frames == 1:
        return tokens
    return tokens.reshape(-1, frames, *tokens.shape[1:]).mean(dim=1)


def _mlp(inputs: int, hidden: int, outputs: int, *, bias: bool = True) -> nn.Sequential:
    last = nn.Linear(hidden, outputs, bias=bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), last)
