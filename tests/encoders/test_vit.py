"""The vision transformer of small model sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from encoders.vit import Adapter, Attention, Trunk, VitConfig

CONFIG = VitConfig(
    width=32, layers=2, heads=2, mlp_ratio=2.0, patch_size=16, projection=24, stem='convolutions'
)


def test_attention_without_the_fused_kernel_gives_what_the_kernel_gives() -> None:
    attention = Attention(CONFIG).eval()
    tokens = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heads = [
            attention.get_submodule(name)(tokens).view(2, 7, 2, 16).transpose(1, 2)
            for name in ('q_proj', 'k_proj', 'v_proj')
        ]
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, 7, 32)
        expected = attention.get_submodule('out_proj')(mixed)
        torch.testing.assert_close(attention(tokens, None), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('blocks', [0, 2])
def test_every_patch_has_its_token_and_the_class_token_is_the_embedding(blocks: int) -> None:
    config = replace(CONFIG, stem_blocks=blocks)
    trunk, adapter = Trunk(config, grid=(2, 3)).eval(), Adapter(config).eval()
    with torch.no_grad():
        tokens = trunk.tokens(torch.randn(2, 3, 32, 48), adapter)
        assert tokens.shape == (2, 7, 32)
        vectors = adapter.embed(tokens)
    assert vectors.shape == (2, 7, 24)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 7))


def test_the_vector_of_an_input_is_that_of_its_class_token() -> None:
    trunk, adapter = Trunk(CONFIG, grid=(2, 2)).eval(), Adapter(CONFIG).eval()
    inputs = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = adapter.embed(trunk.tokens(inputs, adapter))[:, 0]
        torch.testing.assert_close(trunk(inputs, adapter), expected)
