"""The vision transformer: stem, attention, tokens, and what towers of one set hold together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower, attend, is_own, tie

CONFIG = VisionConfig(
    width=32, layers=2, heads=2, mlp_width=64, patch_size=16, image_size=(32, 48), projection=24,
    stem='convolutions',
)  # fmt: skip


def test_attention_on_cpus_gives_what_the_fused_kernel_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    heads = [torch.randn(2, 3, 7, 16, generator=generator) for _ in range(3)]
    expected = F.scaled_dot_product_attention(*heads)
    torch.testing.assert_close(attend(*heads), expected, atol=1e-6, rtol=1e-5)


def test_spreads_of_patches_change_the_vector_once_they_have_weights() -> None:
    shape = (5, 4 * (3 + 1) + 2)  # patches of 4 steps in 3 forms, a mask and two spreads
    config = replace(CONFIG, stem='series', channels=6, patch_size=4, image_size=shape)
    plain = VisionTower(config).eval()
    tower = VisionTower(replace(config, spreads=True)).eval()
    missing = tower.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ['embeddings.patch_embedding.spreads.weight']
    windows = torch.randn(2, 6, *shape)
    with torch.no_grad():
        before = plain(windows)
        assert torch.equal(tower(windows), before)  # 0 before training
        tower.get_parameter(missing[0]).normal_()
        assert not torch.allclose(tower(windows), before, atol=1e-2)
        # The same spreads at another time of the window say the same.
        moved = windows.clone()
        moved[..., -2:] = windows[..., -2:].roll(1, dims=2)
        found = [tower.embeddings.patch_embedding.summary(each) for each in (windows, moved)]
        torch.testing.assert_close(*found)


def test_only_a_series_has_spreads() -> None:
    with pytest.raises(ValueError, match="spreads need the stem 'series', not 'convolutions'"):
        replace(CONFIG, spreads=True)


@pytest.mark.parametrize('blocks', [0, 2])
@pytest.mark.parametrize('stem', ['convolutions', 'patch'])
def test_every_patch_has_its_token(stem: str, blocks: int) -> None:
    tower = VisionTower(replace(CONFIG, stem=stem, stem_blocks=blocks)).eval()
    with torch.no_grad():
        tokens = tower.tokens(torch.randn(2, 3, 32, 48))
        assert tokens.shape == (2, 7, 32)
        vectors = tower.read(tokens)
    assert vectors.shape == (2, 7, 24)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 7))


def test_the_vector_of_an_input_is_that_of_its_class_token() -> None:
    tower = VisionTower(CONFIG).eval()
    inputs = torch.randn(3, 3, 32, 48)
    with torch.no_grad():
        tokens = tower.tokens(inputs)
        torch.testing.assert_close(tower(inputs), tower.read(tokens[:, 0]))
        torch.testing.assert_close(tower.project(inputs), tower.pool(tokens))


def test_only_kept_patches_are_attended_to() -> None:
    tower = VisionTower(CONFIG).eval()
    inputs, kept = torch.randn(1, 3, 32, 48), torch.tensor([[4, 1]])
    with torch.no_grad():
        tokens = tower.tokens(inputs, kept=kept)
        assert tokens.shape == (1, 3, 32)
        torch.testing.assert_close(
            tower.embed(inputs, kept=kept), tower.embed(inputs)[:, [0, 5, 2]]
        )
        assert (tower(inputs) - tower(inputs, kept=kept)).abs().max() > 1e-4


def test_low_rank_updates_equal_merged_weights() -> None:
    adapted = VisionTower(replace(CONFIG, lora_rank=2)).eval()
    for name, parameter in adapted.named_parameters():
        if name.endswith('lora_B'):
            torch.nn.init.normal_(parameter)
    merged = VisionTower(CONFIG).eval()
    tensors = dict(adapted.state_dict())
    for name in [name for name in tensors if name.endswith('.lora_A')]:
        stem = name.removesuffix('.lora_A')
        down, up = tensors.pop(name), tensors.pop(f'{stem}.lora_B')
        tensors[f'{stem}.weight'] = tensors[f'{stem}.weight'] + CONFIG.lora_alpha / 2 * up @ down
    merged.load_state_dict(tensors)
    inputs = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(adapted(inputs), merged(inputs), atol=1e-5, rtol=1e-5)


def test_tied_towers_hold_their_trunk_once_and_the_rest_apart() -> None:
    towers = {
        'depth': VisionTower(CONFIG),
        'infrared': VisionTower(replace(CONFIG, lora_rank=2)),
        'audio': VisionTower(replace(CONFIG, image_size=(16, 64))),
    }
    tie(towers)
    depth, infrared, audio = (dict(tower.named_parameters()) for tower in towers.values())
    positions = 'embeddings.position_embedding.weight'
    for name in depth:
        own = is_own(name, CONFIG)
        assert (depth[name] is infrared[name]) != own, name
        assert (depth[name] is audio[name]) != (own or name == positions), name
    assert not [name for name in depth if 'patch_embedding' in name and not is_own(name, CONFIG)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'stem': 'wavelets'}, 'stem must be one of'),
        ({'patch_size': 14}, 'convolutions need patch_size 8, 16 or 32'),
        ({'image_size': (32, 50)}, 'is not a multiple of patch_size'),
        ({'per_frame': True}, 'no class token per frame'),
        ({'heads': 5}, 'width 32 is not divisible by 5 heads'),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
