"""The one vision transformer behind every modality, and the few weights each modality adds to it.

The trunk is CLIP's: pre-LayerNorm blocks, erf-GELU, a class token. As in LanguageBind, encoders of
different sensors share it and differ in an adapter: class token, last LayerNorm, projection,
low-rank updates of the attention projections and, where the input has another shape, positions.
A small set that is trained from scratch may give every sensor a stem of its own as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATTENTION_PROJECTIONS = ('q_proj', 'k_proj', 'v_proj', 'out_proj')
LOGIT_SCALE_START = math.log(1 / 0.07)  # CLIP, section 2.5
LOGIT_SCALE_MAX = math.log(100.0)


@dataclass(frozen=True, slots=True)
class VitConfig:
    """Shape of the trunk.

    Attributes:
        width: Size of a token.
        layers: Number of blocks.
        heads: Attention heads; divides `width`.
        mlp_ratio: Hidden size of a block's MLP, in widths.
        patch_size: Side of a square patch, pixels.
        projection: Size of the language space.
        stem: How patches become tokens: `patch`, one linear map in the trunk as in CLIP, or
            `convolutions`, a stack of strided convolutions in every adapter, from which small
            networks learn with far less data (Xiao et al. 2021, "Early convolutions help
            transformers see better").
        stem_blocks: Residual blocks after each halving of a convolution stem.
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: float
    patch_size: int
    projection: int
    stem: str = 'patch'
    stem_blocks: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f'width {self.width} is not divisible by {self.heads} heads')
        if self.stem not in ('patch', 'convolutions'):
            raise ValueError(f"stem must be 'patch' or 'convolutions', not {self.stem!r}")
        if self.stem == 'convolutions' and (self.patch_size not in (8, 16, 32) or self.width % 32):
            raise ValueError(
                f'convolutions need patch_size 8, 16 or 32 and a width divisible by 32, '
                f'not {self.patch_size} and {self.width}'
            )


class Attention(nn.Module):
    """Self-attention with separate projections, each open to a low-rank update."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        for name in ATTENTION_PROJECTIONS:
            self.add_module(name, nn.Linear(config.width, config.width))

    def forward(self, tokens: Tensor, lora: LoraBlock | None) -> Tensor:
        """Attend within each sample: `[B, N, width]` to the same."""
        batch, count, width = tokens.shape
        shape = (batch, count, self.heads, width // self.heads)
        query, key, value = (
            self._project(name, tokens, lora).view(shape).transpose(1, 2)
            for name in ATTENTION_PROJECTIONS[:3]
        )
        # On CPUs the fused kernel takes five times as long at a few hundred tokens.
        if tokens.device.type == 'cpu':
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
            mixed = scores.softmax(-1) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        return self._project('out_proj', mixed.transpose(1, 2).reshape(tokens.shape), lora)

    def _project(self, name: str, tokens: Tensor, lora: LoraBlock | None) -> Tensor:
        projected: Tensor = self.get_submodule(name)(tokens)
        return projected if lora is None else projected + lora.update(name, tokens)


class Block(nn.Module):
    """One pre-LayerNorm transformer block."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        hidden = round(config.width * config.mlp_ratio)
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def forward(self, tokens: Tensor, lora: LoraBlock | None) -> Tensor:
        """`[B, N, width]` to the same."""
        tokens = tokens + self.attention(self.layer_norm1(tokens), lora)
        hidden: Tensor = self.fc2(F.gelu(self.fc1(self.layer_norm2(tokens))))
        return tokens + hidden


class LoraBlock(nn.Module):
    """Low-rank updates of one block's attention projections (LoRA, Hu et al. 2021, eq. 3)."""

    def __init__(self, width: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        for name in ATTENTION_PROJECTIONS:
            down = nn.Parameter(torch.empty(rank, width))
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.register_parameter(f'{name}_a', down)
            self.register_parameter(f'{name}_b', nn.Parameter(torch.zeros(width, rank)))

    def update(self, name: str, tokens: Tensor) -> Tensor:
        """What is added to projection `name`."""
        down, up = self.get_parameter(f'{name}_a'), self.get_parameter(f'{name}_b')
        return F.linear(F.linear(tokens, down), up) * self.scale


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a way straight through (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(max(1, width // 16), width)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(max(1, width // 16), width)

    def forward(self, planes: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same."""
        hidden = F.relu(self.norm1(self.convolution1(planes)))
        return planes + torch.as_tensor(self.norm2(self.convolution2(hidden)))


class ConvolutionStem(nn.Sequential):
    """Inputs `[B, 3, H, W]` to one token `[B, width, H / patch, W / patch]` per patch."""

    def __init__(self, config: VitConfig) -> None:
        halvings = int(math.log2(config.patch_size)) - 2
        width = config.width >> halvings
        steps: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), nn.ReLU()]
        for _ in range(halvings):
            wider = width * 2
            steps += [
                nn.Conv2d(width, wider, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(max(1, wider // 16), wider),
                nn.ReLU(),
                *(ResidualBlock(wider) for _ in range(config.stem_blocks)),
            ]
            width = wider
        super().__init__(*steps, nn.Conv2d(width, config.width, 1))


class Adapter(nn.Module):
    """What one modality adds to the trunk.

    Args:
        config: Shape of the trunk.
        grid: Own position table for inputs of this many patches (rows, columns); None to use the
            trunk's.
        lora_rank: Rank of the low-rank updates; 0 for none.
        lora_alpha: Their scale, in ranks.
    """

    def __init__(
        self,
        config: VitConfig,
        *,
        grid: tuple[int, int] | None = None,
        lora_rank: int = 0,
        lora_alpha: float = 16.0,
    ) -> None:
        super().__init__()
        self.stem = ConvolutionStem(config) if config.stem == 'convolutions' else None
        self.class_embedding = nn.Parameter(torch.randn(config.width) * config.width**-0.5)
        self.post_layernorm = nn.LayerNorm(config.width)
        self.projection = nn.Linear(config.width, config.projection, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE_START))
        table = None if grid is None else torch.randn(1 + grid[0] * grid[1], config.width) * 0.02
        self.position_embedding = None if table is None else nn.Parameter(table)
        count = config.layers if lora_rank else 0
        blocks = [LoraBlock(config.width, lora_rank, lora_alpha) for _ in range(count)]
        self.lora = nn.ModuleList(blocks)

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens `[..., width]` of the last block to unit vectors `[..., projection]`."""
        return F.normalize(self.projection(self.post_layernorm(tokens)).float(), dim=-1)


class Trunk(nn.Module):
    """Positions and blocks that all modalities share, and the patch embedding of CLIP.

    Args:
        config: Shape.
        grid: Patches (rows, columns) of the inputs its position table is made for.
    """

    def __init__(self, config: VitConfig, *, grid: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = (
            nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size, bias=False)
            if config.stem == 'patch'
            else None
        )
        table = torch.randn(1 + grid[0] * grid[1], config.width) * 0.02
        self.position_embedding = nn.Parameter(table)
        self.pre_layernorm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))

    def forward(self, inputs: Tensor, adapter: Adapter, *, patch_dropout: float = 0.0) -> Tensor:
        """Embed preprocessed inputs: `[B, 3, H, W]` to unit vectors `[B, projection]`.

        The vector is that of the class token; see `tokens` for arguments and errors.
        """
        tokens = self.tokens(inputs, adapter, patch_dropout=patch_dropout)
        return adapter.embed(tokens[:, 0])

    def tokens(self, inputs: Tensor, adapter: Adapter, *, patch_dropout: float = 0.0) -> Tensor:
        """Tokens of the last block.

        Args:
            inputs: float `[B, 3, H, W]`, sides divisible by the patch size.
            adapter: Of the modality of the inputs.
            patch_dropout: Share of patches left out at random (training only; Li et al. 2023,
                FLIP).

        Returns:
            float `[B, 1 + patches, width]`: the class token, then the patches row by row.

        Raises:
            ValueError: The input has another number of patches than the position table.
        """
        embed = self.patch_embedding if adapter.stem is None else adapter.stem
        assert embed is not None
        patches = embed(inputs).flatten(2).transpose(1, 2)
        own = adapter.position_embedding
        positions = self.position_embedding if own is None else own
        if patches.shape[1] + 1 != positions.shape[0]:
            raise ValueError(
                f'input {tuple(inputs.shape)} gives {patches.shape[1]} patches, '
                f'but the position table holds {positions.shape[0] - 1}'
            )
        patches = patches + positions[1:]
        if patch_dropout > 0.0:
            patches = _keep_some(patches, 1.0 - patch_dropout)
        start = (adapter.class_embedding + positions[0]).expand(len(patches), 1, -1)
        tokens = self.pre_layernorm(torch.cat([start, patches], dim=1))
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, adapter.lora[index] if len(adapter.lora) else None)
        return torch.as_tensor(tokens)


def _keep_some(patches: Tensor, share: float) -> Tensor:
    batch, count, width = patches.shape
    keep = max(1, round(count * share))
    order = torch.rand(batch, count, device=patches.device).argsort(dim=1)[:, :keep]
    return patches.gather(1, order.unsqueeze(-1).expand(-1, -1, width))
