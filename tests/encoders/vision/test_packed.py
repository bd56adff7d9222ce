"""Several modalities in one pass give what each gives by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import Binder
from encoders.model_sets.golden import golden_input
from encoders.model_sets.towers import TowerEncoder, towers_of
from encoders.preprocess.mini import depth
from encoders.vision.config import VisionConfig
from encoders.vision.packed import encode_together, observe_together
from encoders.vision.precision import cpu_has_bf16
from encoders.vision.prepacked import can_prepack, prepack
from encoders.vision.vit import VisionTower, tie

CONFIG = VisionConfig(
    width=64, layers=3, heads=4, mlp_width=128, patch_size=8, image_size=(32, 32), projection=24,
)  # fmt: skip
SHAPES = {
    'image': CONFIG,
    'depth': replace(CONFIG, lora_rank=2),
    'infrared': replace(CONFIG, lora_rank=4),
    'audio': replace(CONFIG, image_size=(16, 64), lora_rank=8),
    'video': replace(CONFIG, frames=2, temporal=True, lora_rank=2),
}


def encoders_of(shapes: Mapping[str, VisionConfig], dtype: torch.dtype) -> dict[str, TowerEncoder]:
    """Random towers on one trunk, with updates that are not zero."""
    torch.manual_seed(0)
    towers = {name: VisionTower(config) for name, config in shapes.items()}
    tie(towers)
    for tower in towers.values():
        for name, parameter in tower.named_parameters():
            if name.endswith('lora_B'):
                torch.nn.init.normal_(parameter, std=0.1)
    for tower in towers.values():
        tower.to(dtype).eval().requires_grad_(False)
    return {name: TowerEncoder(tower, depth.DepthConfig()) for name, tower in towers.items()}


def inputs_of(shapes: Mapping[str, VisionConfig], batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(
            batch,
            3,
            *((config.frames,) if config.frames > 1 else ()),
            *config.image_size,
            generator=generator,
        )
        for name, config in shapes.items()
    }


@torch.inference_mode()
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(
    'names', [('image', 'depth'), ('depth', 'audio', 'image'), tuple(SHAPES), ('video', 'audio')]
)
def test_packed_samples_equal_single_ones(names: tuple[str, ...], batch: int) -> None:
    shapes = {name: SHAPES[name] for name in names}
    encoders, inputs = encoders_of(shapes, torch.float32), inputs_of(shapes, batch)
    found = encode_together(towers_of(encoders), inputs)
    assert tuple(found) == names
    for name in names:
        expected = encoders[name].encode(inputs[name])
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=0)
        assert (found[name][0] - encoders[names[0]].encode(inputs[names[0]])[0]).abs().max() > (
            1e-3 if name != names[0] else -1
        )


@torch.inference_mode()
def test_attention_stays_within_a_sample_and_updates_within_a_modality() -> None:
    shapes = {name: SHAPES[name] for name in ('image', 'depth', 'infrared')}
    encoders, inputs = encoders_of(shapes, torch.float32), inputs_of(shapes, 2)
    before = encode_together(towers_of(encoders), inputs)
    inputs['depth'][1] += 1.0
    after = encode_together(towers_of(encoders), inputs)
    for name, row in (('image', 0), ('image', 1), ('depth', 0), ('infrared', 1)):
        torch.testing.assert_close(after[name][row], before[name][row], atol=1e-6, rtol=0)
    assert (after['depth'][1] - before['depth'][1]).abs().max() > 1e-3


@torch.inference_mode()
def test_half_precision_keeps_the_direction() -> None:
    exact = encode_together(towers_of(encoders_of(SHAPES, torch.float32)), inputs_of(SHAPES, 2))
    rough = encode_together(towers_of(encoders_of(SHAPES, torch.bfloat16)), inputs_of(SHAPES, 2))
    for name, vectors in rough.items():
        assert vectors.dtype == torch.float32
        assert (vectors * exact[name]).sum(-1).min() > 0.9995


@torch.inference_mode()
@pytest.mark.parametrize(
    'dtype',
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(not cpu_has_bf16(), reason='no bfloat16 on this processor'),
        ),
    ],
)
def test_rearranged_weights_are_shared_and_give_the_same(dtype: torch.dtype) -> None:
    if not can_prepack(torch.empty(0)):
        pytest.skip('no oneDNN for this processor')
    encoders, inputs = encoders_of(SHAPES, dtype), inputs_of(SHAPES, 2)
    plain = {name: encoder.encode(inputs[name]) for name, encoder in encoders.items()}
    towers = [encoder.tower for encoder in encoders.values()]
    before = len({id(p) for tower in towers for p in tower.parameters()})
    prepack(towers)
    parameters = {id(p): p for tower in towers for p in tower.parameters()}
    assert len(parameters) == before
    assert sum(p.is_mkldnn for p in parameters.values()) >= 6 * CONFIG.layers
    together = encode_together(towers_of(encoders), inputs)
    for name, encoder in encoders.items():
        for found in (together[name], encoder.encode(inputs[name])):
            if dtype == torch.float32:
                torch.testing.assert_close(found, plain[name], atol=1e-5, rtol=0)
            assert (found * plain[name]).sum(-1).min() > 0.9995


@torch.inference_mode()
def test_towers_that_share_only_some_layers_or_none() -> None:
    encoders = encoders_of({n: SHAPES[n] for n in ('image', 'depth')}, torch.float32)
    # As in a fully tuned encoder: attention of its own, the MLPs still shared.
    attention = encoders['depth'].tower.encoder.layers[1].self_attn
    attention.v_proj.weight = torch.nn.Parameter(attention.v_proj.weight.flip(0))
    shapes = {**{n: SHAPES[n] for n in ('image', 'depth')}, 'infrared': replace(CONFIG, width=32)}
    encoders |= encoders_of({'infrared': shapes['infrared']}, torch.float32)
    inputs = inputs_of(shapes, 2)
    for name, found in encode_together(towers_of(encoders), inputs).items():
        expected = encoders[name].encode(inputs[name])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_binder_packs_what_it_embeds(tiny_model_set: Path) -> None:
    for source in ('lb-mini', tiny_model_set):
        binder = Binder.load(source)
        raw = {name: golden_input(name) for name in binder.modalities}
        together = binder.embed(**raw)
        for name in raw:
            alone = binder.embed(**{name: raw[name]})[name]
            np.testing.assert_allclose(together[name], alone, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize('asked', [('depth',), ('video', 'image'), tuple(SHAPES), ()])
def test_tokens_are_those_of_the_tower_and_change_no_vector(asked: tuple[str, ...]) -> None:
    encoders, inputs = encoders_of(SHAPES, torch.float32), inputs_of(SHAPES, 2)
    towers = towers_of(encoders)
    found = observe_together(towers, inputs, reducers={n: torch.nn.Identity() for n in asked})
    assert set(found.tokens) == set(asked)
    for name in asked:
        config = towers[name].config
        every = towers[name].tokens(inputs[name])
        expected = every.unflatten(0, (2, config.frames)).mean(dim=1)
        assert found.tokens[name].dtype == torch.float16
        torch.testing.assert_close(found.tokens[name], expected.half(), atol=4e-3, rtol=1e-3)
    for name, vectors in encode_together(towers, inputs).items():
        torch.testing.assert_close(found.vectors[name], vectors, atol=1e-5, rtol=0)


class Kept(torch.nn.Module):
    """A reducer that keeps what it was given."""

    def forward(self, tokens: Tensor) -> Tensor:
        self.tokens = tokens
        return tokens


@torch.inference_mode()
def test_packed_tokens_equal_those_of_the_tower_before_rounding() -> None:
    encoders, inputs = encoders_of(SHAPES, torch.float32), inputs_of(SHAPES, 3)
    towers, kept = towers_of(encoders), {name: Kept() for name in SHAPES if name != 'video'}
    observe_together(towers, inputs, reducers=kept)
    for name, reducer in kept.items():
        expected = towers[name].tokens(inputs[name])
        torch.testing.assert_close(reducer.tokens, expected, atol=1e-5, rtol=0)
