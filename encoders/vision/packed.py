"""One forward pass for several modalities: their tokens go through shared layers together.

Towers of one set share most of their parameters, so a linear layer can read its weights once for
the tokens of all of them. Modules whose parameters are the same objects run together, all others
run per modality. Attention stays within each sample, low-rank updates within each modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.vision.readout import mean_over_frames
from encoders.vision.vit import Layer, LoraLinear, VisionTower, attend

Segments = Sequence['Segment']
Reducers = Mapping[str, nn.Module]
Member = TypeVar('Member')


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one modality in the packed tokens.

    Attributes:
        tower: Tower of the modality.
        start, stop: First row, and the row after the last one.
        count: Tokens per frame; `stop - start` is a multiple of it.
    """

    tower: VisionTower
    start: int
    stop: int
    count: int

    def of(self, rows: Tensor) -> Tensor:
        """The rows of this segment, float `[frames, count, width]`."""
        return rows[self.start : self.stop].view(-1, self.count, rows.shape[-1])


class Encodings(NamedTuple):
    """Results of one pass.

    Attributes:
        vectors: Unit vectors float32 `[B, D]` by modality.
        tokens: Reduced tokens float16 `[B, N, width]`, of the modalities with a reducer.
    """

    vectors: dict[str, Tensor]
    tokens: dict[str, Tensor]


class Through(Protocol):
    """One layer of all segments, `[rows, width]` to the same width; see `through_layer`."""

    def __call__(
        self,
        rows: Tensor,
        segments: Segments,
        layers: Sequence[Layer],
        *,
        asking: Segments | None = None,
    ) -> Tensor:
        """The rows after the layer."""
        ...


def through_layer(
    rows: Tensor,
    segments: Segments,
    layers: Sequence[Layer],
    *,
    asking: Segments | None = None,
) -> Tensor:
    """As `Layer.forward` for the rows of all segments.

    Args:
        rows: float `[rows, width]`.
        segments: The rows of each modality.
        layers: The layer of each modality.
        asking: The rows to return, see `_asking`; None for all. In the last layer the class tokens
            are enough where nothing reads the others: `VisionTower.pool` does not. Everything
            except keys and values is then computed for the class tokens only.
    """
    asked = segments if asking is None else asking

    def run(rows: Tensor, part: Callable[[Layer], nn.Module], *, of: Segments = asked) -> Tensor:
        return _run(rows, of, [part(layer) for layer in layers])

    rows = _across_frames(rows, segments, layers)
    normed = run(rows, lambda layer: layer.layer_norm1, of=segments)
    key = run(normed, lambda layer: layer.self_attn.k_proj, of=segments)
    value = run(normed, lambda layer: layer.self_attn.v_proj, of=segments)
    if asking is not None:
        rows, normed = _asked(rows, asking, segments), _asked(normed, asking, segments)
    query = run(normed, lambda layer: layer.self_attn.q_proj)
    mixed = _attended(query, key, value, asking=asked, segments=segments)
    rows = rows + run(mixed, lambda layer: layer.self_attn.out_proj)
    hidden = run(run(rows, lambda layer: layer.layer_norm2), lambda layer: layer.mlp.fc1)
    return rows + run(layers[0].mlp.activate(hidden), lambda layer: layer.mlp.fc2)


def encode_together(
    towers: Mapping[str, VisionTower],
    inputs: Mapping[str, Tensor],
    *,
    through: Through = through_layer,
) -> dict[str, Tensor]:
    """Unit vectors float32 `[B, D]` by modality, of preprocessed inputs `[B, ...]`.

    The results equal those of calling each tower, up to rounding in matrix products of other
    sizes. `through` may be a faster form of `through_layer`.

    Raises:
        ValueError: An input does not have the shape that its tower expects.
    """
    return observe_together(towers, inputs, reducers={}, through=through).vectors


def observe_together(
    towers: Mapping[str, VisionTower],
    inputs: Mapping[str, Tensor],
    *,
    reducers: Reducers,
    through: Through = through_layer,
) -> Encodings:
    """As `encode_together`, also returns the tokens of some modalities.

    Args:
        towers: Towers by modality.
        inputs: Preprocessed inputs `[B, ...]` by modality.
        reducers: By modality, what reduces the tokens of the last block; without one no tokens are
            returned, and the last block computes only what the vector needs.
        through: As for `encode_together`.

    Raises:
        ValueError: An input does not have the shape that its tower expects.
    """
    vectors: dict[str, Tensor] = {}
    tokens: dict[str, Tensor] = {}
    packs: dict[Any, dict[str, VisionTower]] = {}
    for name in inputs:
        packs.setdefault(_shape(towers[name]), {})[name] = towers[name]
    for pack in packs.values():
        found = _encode_pack(pack, {name: inputs[name] for name in pack}, reducers, through)
        vectors |= found.vectors
        tokens |= found.tokens
    return Encodings({name: vectors[name] for name in inputs}, tokens)


def _shape(tower: VisionTower) -> tuple[object, ...]:
    """A key that is equal for towers that can run together."""
    config, scale = tower.config, tower.logit_scale
    shape = (config.width, config.layers, config.heads, config.mlp_width, config.activation)
    return (*shape, config.layer_norm_eps, scale.device, scale.dtype)


def _encode_pack(
    towers: Mapping[str, VisionTower],
    inputs: Mapping[str, Tensor],
    reducers: Reducers,
    through: Through,
) -> Encodings:
    segments, parts, start = {}, [], 0
    for name, tower in towers.items():
        tokens = tower.embed(inputs[name].to(tower.logit_scale))
        stop = start + tokens.shape[0] * tokens.shape[1]
        segments[name] = Segment(tower, start, stop, tokens.shape[1])
        parts.append(tokens.flatten(0, 1))
        start = stop
    rows, packed = torch.cat(parts), list(segments.values())
    *before, last = zip(*(_layers(tower) for tower in towers.values()), strict=True)
    for layers in before:
        rows = through(rows, packed, layers)
    asking = _asking(packed, [name in reducers for name in segments])
    rows = through(rows, packed, last, asking=asking)
    found = Encodings({}, {})
    for name, segment in zip(segments, asking, strict=True):
        tokens, tower = segment.of(rows), segment.tower
        found.vectors[name] = F.normalize(tower.pool(tokens).float(), dim=-1)
        if name in reducers:
            samples = mean_over_frames(tokens.float(), tower.config.frames)
            found.tokens[name] = reducers[name](samples).half()
    return found


def _asking(segments: Segments, whole: Sequence[bool]) -> list[Segment]:
    """The segments after the tokens of some are removed except for the class tokens."""
    found, start = [], 0
    for segment, is_whole in zip(segments, whole, strict=True):
        count = segment.count if is_whole else 1
        stop = start + (segment.stop - segment.start) // segment.count * count
        found.append(Segment(segment.tower, start, stop, count))
        start = stop
    return found


def _asked(rows: Tensor, asking: Segments, segments: Segments) -> Tensor:
    """The rows of `asking` among those of `segments`."""
    parts = []
    for asked, segment in zip(asking, segments, strict=True):
        tokens = segment.of(rows)
        is_whole = asked.count == segment.count
        parts.append(tokens.flatten(0, 1) if is_whole else tokens[:, 0])
    return torch.cat(parts)


def _layers(tower: VisionTower) -> list[Layer]:
    return cast('list[Layer]', list(tower.encoder.layers))


def _run(rows: Tensor, segments: Segments, modules: Sequence[nn.Module]) -> Tensor:
    """Run each segment through its module; neighbours with the same weights run together."""
    parts = []
    members = zip(segments, modules, strict=True)
    for group in _neighbours(list(members), _weights_are_same):
        start, stop = group[0][0].start, group[-1][0].stop
        inputs, first = rows[start:stop], group[0][1]
        # Neighbours with the same weights may have different low-rank updates, or none.
        output = first.base(inputs) if isinstance(first, LoraLinear) else first(inputs)
        for segment, module in group:
            if isinstance(module, LoraLinear):
                part = slice(segment.start - start, segment.stop - start)
                output[part] += module.update(inputs[part])
        parts.append(output)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _weights_are_same(one: tuple[Segment, nn.Module], other: tuple[Segment, nn.Module]) -> bool:
    return one[1].weight is other[1].weight and one[1].bias is other[1].bias


def _counts_are_same(one: tuple[Segment, Segment], other: tuple[Segment, Segment]) -> bool:
    return all(mine.count == theirs.count for mine, theirs in zip(one, other, strict=True))


def _neighbours(
    members: Sequence[Member], same: Callable[[Member, Member], bool]
) -> list[list[Member]]:
    """Group adjacent members that are the same."""
    groups = [[members[0]]]
    for member in members[1:]:
        if same(groups[-1][-1], member):
            groups[-1].append(member)
        else:
            groups.append([member])
    return groups


def _attended(
    query: Tensor, key: Tensor, value: Tensor, *, asking: Segments, segments: Segments
) -> Tensor:
    """Attention within each frame; adjacent segments with equally many rows run together.

    `query` has the rows of `asking`, `key` and `value` those of `segments`.
    """
    parts = []
    pairs = list(zip(asking, segments, strict=True))
    for members in _neighbours(pairs, _counts_are_same):
        first, last = members[0], members[-1]
        heads = first[0].tower.config.heads
        split = [
            rows[first[side].start : last[side].stop]
            .view(-1, first[side].count, heads, rows.shape[-1] // heads)
            .transpose(1, 2)
            for rows, side in ((query, 0), (key, 1), (value, 1))
        ]
        parts.append(attend(*split).transpose(1, 2).flatten(2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _across_frames(rows: Tensor, segments: Segments, layers: Sequence[Layer]) -> Tensor:
    """Attention across frames, for the segments of video towers."""
    if not any(segment.tower.config.temporal for segment in segments):
        return rows
    parts = []
    for segment, layer in zip(segments, layers, strict=True):
        tokens = segment.of(rows)
        if segment.tower.config.temporal:
            tokens = layer.across_frames(tokens)
        parts.append(tokens.flatten(0, 1))
    return torch.cat(parts)
