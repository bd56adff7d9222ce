"""The vision transformer of every encoder.

Pre-LayerNorm blocks as in CLIP. The encoders of different sensors are towers of the same class.
They share most of their parameters (`encoders.model_sets.sharing`) and differ in those for which
`is_own` is true. Modules have the names of LanguageBind's released tensors, including the misspelt
`pre_layrnorm`, so that checkpoints need no table of names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.transformer import unfilled
from encoders.vision.config import VisionConfig
from encoders.vision.stem import Embeddings

# ln(1 / 0.07) (CLIP, section 2.5), rounded as in the released configurations; and CLIP's limit.
LOGIT_SCALE_START, LOGIT_SCALE_MAX = 2.6592, math.log(100.0)

# Tensors that encoders of a set do not share, besides low-rank updates and stems of their own.
OWN = ('embeddings.class_embedding', 'post_layernorm.', 'visual_projection.', 'logit_scale')


def is_own(name: str, config: VisionConfig) -> bool:
    """Whether a tensor belongs to one modality even if the trunk is shared."""
    stem = config.stem != 'patch' and name.startswith('embeddings.patch_embedding.')
    return stem or name.startswith(OWN) or '.lora_' in name


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention (Vaswani et al. 2017, eq. 1), `[B, heads, N, size]` to the same shape."""
    if query.device.type != 'cpu':
        return F.scaled_dot_product_attention(query, key, value)
    # On CPUs the fused kernel is slower at a few hundred tokens, and less exact.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    mixed: Tensor = scores.softmax(-1) @ value
    return mixed


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`W x + b`, also for a weight rearranged by `encoders.vision.prepacked`."""
    if weight.is_mkldnn:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, 'none', [], '')
        return product
    return F.linear(inputs, weight, bias)


class Linear(nn.Linear):
    """A linear layer whose weight may be rearranged."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., in_features]` to `[..., out_features]`."""
        return linear(inputs, self.weight, self.bias)


class LoraLinear(nn.Module):
    """A linear layer with a low-rank update: `W x + b + alpha / r * B A x`.

    Hu et al. 2021, eq. 3. The update is separate from `W`, so that modalities can share `W`.
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
        """`[..., size]` to the same shape."""
        return self.base(inputs) + self.update(inputs)

    def base(self, inputs: Tensor) -> Tensor:
        """The linear layer without the update."""
        return linear(inputs, self.weight, self.bias)

    def update(self, inputs: Tensor) -> Tensor:
        """The low-rank update, scaled by alpha / r."""
        return self.scale * F.linear(F.linear(inputs, self.lora_A), self.lora_B)


class Attention(nn.Module):
    """Self-attention with separate projections, with low-rank updates if `rank` is not 0."""

    def __init__(self, config: VisionConfig, rank: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.k_proj = _projection(config, rank)
        self.v_proj = _projection(config, rank)
        self.q_proj = _projection(config, rank)
        self.out_proj = _projection(config, rank)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attention within each row of the batch, `[B, N, width]` to the same shape."""
        batch, count, width = tokens.shape
        query, key, value = (
            project(tokens).view(batch, count, self.heads, width // self.heads).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = attend(query, key, value).transpose(1, 2).reshape(batch, count, width)
        projected: Tensor = self.out_proj(mixed)
        return projected


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.quick = config.activation == 'quick_gelu'
        self.fc1 = Linear(config.width, config.mlp_width)
        self.fc2 = Linear(config.mlp_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., width]` to the same shape."""
        output: Tensor = self.fc2(self.activate(self.fc1(tokens)))
        return output

    def activate(self, hidden: Tensor) -> Tensor:
        """GELU (Hendrycks and Gimpel 2016) with erf, or CLIP's quick approximation."""
        return hidden * torch.sigmoid(1.702 * hidden) if self.quick else F.gelu(hidden)


class Layer(nn.Module):
    """One pre-LayerNorm block, in video towers preceded by attention across frames."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.frames = config.frames
        self.temporal = config.temporal
        rank = config.lora_rank
        if config.temporal:
            self.temporal_embedding = nn.Parameter(torch.empty(1, config.frames, config.width))
            nn.init.normal_(self.temporal_embedding, std=config.width**-0.5)
            self.temporal_attn = Attention(config, rank)
            self.temporal_layer_norm1 = _layer_norm(config)
        # Video checkpoints have low-rank updates only in the attention across frames.
        self.self_attn = Attention(config, 0 if config.temporal else rank)
        self.layer_norm1 = _layer_norm(config)
        self.mlp = Mlp(config)
        self.layer_norm2 = _layer_norm(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B * frames, N, width]` to the same shape."""
        if self.temporal:
            tokens = self.across_frames(tokens)
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.layer_norm2(tokens))
        return mixed

    def across_frames(self, tokens: Tensor) -> Tensor:
        """Every token attends to the tokens at its position in the other frames of its clip."""
        _, count, width = tokens.shape
        clips = tokens.view(-1, self.frames, count, width).transpose(1, 2)
        series = clips.reshape(-1, self.frames, width)
        if self.frames > 1:
            # Added to the residual stream, not only to the input of the attention.
            series = series + self.temporal_embedding
        attended: Tensor = self.temporal_attn(self.temporal_layer_norm1(series))
        series = series + attended
        return series.view(-1, count, self.frames, width).transpose(1, 2).reshape(tokens.shape)


class Layers(nn.Module):
    """The blocks, under their name in checkpoints."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B * frames, N, width]` to the same shape."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class VisionTower(nn.Module):
    """Embeds preprocessed inputs of one modality: patch embedding, blocks, pooling."""

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
            inputs: float `[B, 3, H, W]`, or `[B, C, patches, V]` for series, or
                `[B, 3, T, H, W]` for video clips, or `[b, pair, T, bs, 3, H, W]` as loaders of
                clip pairs stack them, where `B` is `b * pair * bs`.
            kept: int64 `[B, K]`, indices of the patches to keep in training, 0-based without the
                class token (see `draw_kept_patches`); the same in all frames of a clip. None
                keeps all.

        Returns:
            float32 `[B, projection]`, unit length.

        Raises:
            ValueError: The input does not have the shape that the tower expects.
        """
        return F.normalize(self.project(inputs, kept=kept).float(), dim=-1)

    def project(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """As `forward`, without the normalisation to unit length."""
        return self.pool(self.tokens(inputs, kept=kept))

    def tokens(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """Tokens of the last block, float `[B * T, 1 + patches, width]`; arguments as `forward`.

        The class token comes first, then the patches in row-major order (or in the order of
        `kept`).
        """
        tokens: Tensor = self.encoder(self.embed(inputs, kept=kept))
        return tokens

    def embed(self, inputs: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """The input of the first block; shapes as `tokens`."""
        frames = self._as_frames(inputs)
        tokens = self.embeddings(frames)
        if kept is not None:
            tokens = _keep(tokens, kept.repeat_interleave(frames.shape[2], dim=0))
        normed: Tensor = self.pre_layrnorm(tokens)
        return normed

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens of the last block to vectors `[B, projection]` that are not normalised.

        The order matters: LayerNorm of every frame's class token, then their mean, then the
        projection.
        """
        states = self.post_layernorm(tokens[:, 0])
        pooled = states.view(-1, self.config.frames, states.shape[-1]).mean(dim=1)
        projected: Tensor = self.visual_projection(pooled)
        return projected

    def read(self, states: Tensor) -> Tensor:
        """States `[..., width]` of the last block as unit vectors float32 `[..., projection]`.

        Used in training to compare parts of an image with their names.
        """
        return F.normalize(self.visual_projection(self.post_layernorm(states)).float(), dim=-1)

    def _as_frames(self, inputs: Tensor) -> Tensor:
        config = self.config
        frames = inputs
        if inputs.ndim == 4 and config.frames == 1:
            frames = inputs.unsqueeze(2)
        elif inputs.ndim == 7:
            # The reference reads the frames in memory order, also across `bs`.
            clips = inputs.reshape(-1, inputs.shape[2], *inputs.shape[4:])
            frames = clips.transpose(1, 2)
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
    """Indices of the patches that a training step keeps, int64 `[batch, K]`.

    FLIP's masking (Li et al. 2023) as in LanguageBind: the positions of the
    `K = max(1, int(patches * (1 - dropout)))` largest of normal random numbers drawn on the CPU,
    largest first.
    """
    count = max(1, int(patches * (1 - dropout)))
    return torch.randn(batch, patches, generator=generator).topk(count, dim=-1).indices


def _keep(tokens: Tensor, kept: Tensor) -> Tensor:
    index = (kept + 1).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return torch.cat([tokens[:, :1], tokens.gather(1, index)], dim=1)


def _projection(config: VisionConfig, rank: int) -> nn.Module:
    if rank:
        return LoraLinear(config.width, rank, config.lora_alpha)
    return Linear(config.width, config.width)


def _layer_norm(config: VisionConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.width, eps=config.layer_norm_eps)


def tie(towers: Mapping[str, VisionTower]) -> None:
    """Make towers share parameters of the same name and shape, except those of `is_own`.

    The values are those of the first tower.
    """
    held: dict[tuple[str, torch.Size], nn.Parameter] = {}
    for tower in towers.values():
        for name, parameter in list(tower.named_parameters()):
            if not is_own(name, tower.config):
                module, _, leaf = name.rpartition('.')
                shared = held.setdefault((name, parameter.shape), parameter)
                setattr(tower.get_submodule(module), leaf, shared)


def vision_shapes(config: VisionConfig) -> dict[str, torch.Size]:
    """Names and shapes of the tensors of a vision tower."""
    with unfilled():
        return {name: tensor.shape for name, tensor in VisionTower(config).state_dict().items()}
