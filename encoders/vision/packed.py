"""One forward pass for several modalities: their tokens go through shared layers together.

Towers of one set share most of their parameters, so a linear layer can read its weights once for
the tokens of all of them. Modules whose parameters are the same objects run together, all others
run per modality. Attention stays within each sample, low-rank updates within each modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.vision.vit import Layer, LoraLinear, VisionTower, attend

Segments = Sequence['Segment']
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


class Through(Protocol):
    """One layer of all segments, `[rows, width]` to the same shape; see `through_layer`."""

    def __call__(
        self,
        rows: Tensor,
        segments: Segments,
        layers: Sequence[Layer],
        *,
        only_class: bool = False,
    ) -> Tensor:
        """The rows after the layer."""
        ...


def through_layer(
    rows: Tensor, segments: Segments, layers: Sequence[Layer], *, only_class: bool = False
) -> Tensor:
    """As `Layer.forward` for the rows of all segments.

    Args:
        rows: float `[rows, width]`.
        segments: The rows of each modality.
        layers: The layer of each modality.
        only_class: Return only the class tokens (the rows of `_class_segments`). This is enough
            for the last layer, of which `VisionTower.pool` uses nothing else; everything except
            keys and values is then computed for the class tokens only.
    """
    asking = _class_segments(segments) if only_class else segments

    def run(rows: Tensor, part: Callable[[Layer], nn.Module], *, of: Segments = asking) -> Tensor:
        return _run(rows, of, [part(layer) for layer in layers])

    rows = _across_frames(rows, segments, layers)
    normed = run(rows, lambda layer: layer.layer_norm1, of=segments)
    key = run(normed, lambda layer: layer.self_attn.k_proj, of=segments)
    value = run(normed, lambda layer: layer.self_attn.v_proj, of=segments)
    if only_class:
        rows, normed = _class_rows(rows, segments), _class_rows(normed, segments)
    query = run(normed, lambda layer: layer.self_attn.q_proj)
    mixed = _attended(query, key, value, asking=asking, segments=segments)
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
    vectors: dict[str, Tensor] = {}
    packs: dict[Any, dict[str, VisionTower]] = {}
    for name in inputs:
        packs.setdefault(_shape(towers[name]), {})[name] = towers[name]
    for pack in packs.values():
        vectors |= _encode_pack(pack, {name: inputs[name] for name in pack}, through)
    return {name: vectors[name] for name in inputs}


def _shape(tower: VisionTower) -> tuple[object, ...]:
    """A key that is equal for towers that can run together."""
    config, scale = tower.config, tower.logit_scale
    shape = (config.width, config.layers, config.heads, config.mlp_width, config.activation)
    return (*shape, config.layer_norm_eps, scale.device, scale.dtype)


def _encode_pack(
    towers: Mapping[str, VisionTower], inputs: Mapping[str, Tensor], through: Through
) -> dict[str, Tensor]:
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
    rows = through(rows, packed, last, only_class=True)
    return {
        name: F.normalize(segment.tower.pool(segment.of(rows)).float(), dim=-1)
        for name, segment in zip(segments, _class_segments(packed), strict=True)
    }


def _class_segments(segments: Segments) -> list[Segment]:
    """The segments after all tokens except the class tokens are removed."""
    found, start = [], 0
    for segment in segments:
        stop = start + (segment.stop - segment.start) // segment.count
        found.append(Segment(segment.tower, start, stop, 1))
        start = stop
    return found


def _class_rows(rows: Tensor, segments: Segments) -> Tensor:
    return torch.cat([segment.of(rows)[:, 0] for segment in segments])


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
    """Attention within each frame; adjacent segments with equally many tokens run together.

    `query` has the rows of `asking`, `key` and `value` those of `segments`.
    """
    parts = []
    pairs = list(zip(asking, segments, strict=True))
    for members in _neighbours(pairs, lambda one, other: one[1].count == other[1].count):
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
