"""The one vision transformer behind every LanguageBind encoder.

Modules carry the names of the released tensors (also the misspelt `pre_layrnorm`), so that a
checkpoint needs no table of names to be read or written.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.languagebind.configuration import VisionConfig

LOGIT_SCALE_START = (
    2.6592  # ln(1 / 0.07), CLIP section 2.5, as the released configurations round it
)


class LoraLinear(nn.Module):
    """A linear layer with a low-rank update beside it: `W x + b + alpha / r * B A x`.

    Hu et al. 2021, eq. 3. Kept apart from `W`, so that `W` can be shared between modalities.
    """

    def __init__(self, size: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.weight = nn.Parameter(torch.empty(size, size))
        self.bias = nn.Parameter(torch.empty(size))
        self.lora_A = nn.Parameter(torch.empty(rank, size))
        self.lora_B = nn.Parameter(torch.zeros(size, rank))
        for matrix in (self.weight, self.lora_A):
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., size]` to the same."""
        update = F.linear(F.linear(inputs, self.lora_A), self.lora_B)
        return F.linear(inputs, self.weight, self.bias) + self.scale * update


class Attention(nn.Module):
    """Self-attention with separate projections, low-rank updates where `rank` is not 0."""

    def __init__(self, config: VisionConfig, rank: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.k_proj = _projection(config, rank)
        self.v_proj = _projection(config, rank)
        self.q_proj = _projection(config, rank)
        self.out_proj = _projection(config, rank)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend within each row of the batch: `[B, N, width]` to the same."""
        batch, count, width = tokens.shape
        query, key, value = (
            project(tokens).view(batch, count, self.heads, width // self.heads).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return projected


class Mlp(nn.Module):
    """Two linear layers around the activation."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.quick = config.activation == 'quick_gelu'
        self.fc1 = nn.Linear(config.width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., width]` to the same."""
        hidden: Tensor = self.fc1(tokens)
        active = hidden * torch.sigmoid(1.702 * hidden) if self.quick else F.gelu(hidden)
        output: Tensor = self.fc2(active)
        return output


class Layer(nn.Module):
    """One pre-LayerNorm block; of a video tower also the attention across frames before it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.frames = config.frames
        self.temporal = config.temporal
        rank = config.lora_rank
        if config.temporal:
            table = torch.randn(1, config.frames, config.width) * config.width**-0.5
            self.temporal_embedding = nn.Parameter(table)
            self.temporal_attn = Attention(config, rank)
            self.temporal_layer_norm1 = _layer_norm(config)
        # A video checkpoint adapts its attention across frames alone.
        self.self_attn = Attention(config, 0 if config.temporal else rank)
        self.layer_norm1 = _layer_norm(config)
        self.mlp = Mlp(config)
        self.layer_norm2 = _layer_norm(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B * frames, N, width]` to the same."""
        if self.temporal:
            tokens = self._across_frames(tokens)
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.layer_norm2(tokens))
        return mixed

    def _across_frames(self, tokens: Tensor) -> Tensor:
        """Every token attends to the tokens at its place in the other frames of its clip."""
        _, count, width = tokens.shape
        clips = tokens.view(-1, self.frames, count, width).transpose(1, 2)
        series = clips.reshape(-1, self.frames, width)
        if self.frames > 1:
            # Added to the residual stream itself, not only to the input of the attention.
            series = series + self.temporal_embedding
        attended: Tensor = self.temporal_attn(self.temporal_layer_norm1(series))
        series = series + attended
        return series.view(-1, count, self.frames, width).transpose(1, 2).reshape(tokens.shape)


class Embeddings(nn.Module):
    """Patches, class token and positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, side = config.width, config.patch_size
        own = (config.frames, width) if config.per_frame else (width,)
        self.class_embedding = nn.Parameter(torch.randn(own) * width**-0.5)
        self.patch_embedding: nn.Module
        if config.per_frame:
            size = (1, side, side)
            self.patch_embedding = nn.Conv3d(config.channels, width, size, stride=size, bias=False)
        else:
            self.patch_embedding = nn.Conv2d(config.channels, width, side, stride=side, bias=False)
        self.position_embedding = nn.Embedding(config.patches + 1, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Clips `[B, 3, T, H, W]` to tokens `[B * T, 1 + patches, width]`, class token first."""
        batch, channels, count, *size = frames.shape
        if isinstance(self.patch_embedding, nn.Conv3d):
            patches = self.patch_embedding(frames).transpose(1, 2).flatten(0, 1)
        else:
            stacked = frames.transpose(1, 2).reshape(batch * count, channels, *size)
            patches = self.patch_embedding(stacked)
        width = patches.shape[1]
        start = self.class_embedding.expand(batch, count, width).reshape(-1, 1, width)
        tokens = torch.cat([start, patches.flatten(2).transpose(1, 2)], dim=1)
        return tokens + self.position_embedding.weight


class Layers(nn.Module):
    """The blocks, under the name they have in checkpoints."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B * frames, N, width]` to the same."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class VisionTower(nn.Module):
    """Preprocessed inputs of one modality to unit vectors."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = _layer_norm(config)
        self.encoder = Layers(config)
        self.post_layernorm = _layer_norm(config)
        self.visual_projection = nn.Linear(config.width, config.projection, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE_START))

    def forward(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """Embed preprocessed inputs.

        Args:
            inputs: float `[B, 3, H, W]`, or `[B, 3, T, H, W]` with the frames of a video.
            kept: int64 `[B, K]`, the patches to keep in training, 0-based without the class token
                (see `draw_kept_patches`); all frames of a clip keep the same. None for all.

        Returns:
            float `[B, projection]`, unit length.

        Raises:
            ValueError: The input has another shape than the tower is made for.
        """
        return F.normalize(self.project(inputs, kept=kept), dim=-1)

    def project(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """As `forward`, before the vectors get unit length."""
        frames = self._as_frames(inputs)
        tokens = self.embeddings(frames)
        if kept is not None:
            tokens = _keep(tokens, kept.repeat_interleave(frames.shape[2], dim=0))
        tokens = self.encoder(self.pre_layrnorm(tokens))
        # The order matters: LayerNorm of every frame, then their mean, then the projection.
        frame_states = self.post_layernorm(tokens[:, 0])
        pooled = frame_states.view(len(frames), frames.shape[2], -1).mean(dim=1)
        projected: Tensor = self.visual_projection(pooled)
        return projected

    def _as_frames(self, inputs: Tensor) -> Tensor:
        config = self.config
        frames = inputs.unsqueeze(2) if inputs.ndim == 4 and config.frames == 1 else inputs
        wanted = (config.channels, config.frames, *config.image_size)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != wanted:
            shape = wanted if config.frames > 1 else (config.channels, *config.image_size)
            raise ValueError(
                f'input {list(inputs.shape)} does not fit, expected {["B", *shape]}'.replace(
                    "'", ''
                )
            )
        return frames


def draw_kept_patches(
    batch: int, patches: int, dropout: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Which patches a training step keeps, int64 `[batch, K]`.

    FLIP's (Li et al. 2023) masking as LanguageBind draws it: the largest of normal random numbers
    from the CPU, `K = max(1, int(patches * (1 - dropout)))`, in their order.
    """
    count = max(1, int(patches * (1 - dropout)))
    return torch.randn(batch, patches, generator=generator).topk(count, dim=-1).indices


def resize_positions(table: Tensor, *, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """A position table for another grid, float32 `[1 + rows * columns, width]`.

    How training of the audio encoder began from the image's table: bicubic with antialiasing; the
    row of the class token stays.

    Args:
        table: float `[1 + rows * columns, width]` for the grid `before`.
        before: Its patches (rows, columns).
        after: Those of the new table.

    Raises:
        ValueError: The table has another number of rows than `before` needs.
    """
    if len(table) != 1 + before[0] * before[1]:
        raise ValueError(f'{len(table)} positions do not fit a grid of {before}')
    image = table[1:].T.reshape(1, -1, *before)
    resized = F.interpolate(image, size=after, mode='bicubic', antialias=True, align_corners=False)
    return torch.cat([table[:1], resized.flatten(2)[0].T])


def _keep(tokens: Tensor, kept: Tensor) -> Tensor:
    index = (kept + 1).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return torch.cat([tokens[:, :1], tokens.gather(1, index)], dim=1)


def _projection(config: VisionConfig, rank: int) -> nn.Module:
    if rank:
        return LoraLinear(config.width, rank, config.lora_alpha)
    return nn.Linear(config.width, config.width)


def _layer_norm(config: VisionConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.width, eps=config.layer_norm_eps)
