"""The configuration of a vision tower, for LanguageBind's models and for small sets."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.transformer import check_transformer

# Stems of numeric channels.
SERIES_STEMS = ('series', 'described')
STEMS = ('patch', 'convolutions', *SERIES_STEMS)
LORA_ALPHA = 16.0  # as in every released checkpoint


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Shape of a vision tower.

    Attributes:
        width, layers, heads, mlp_width: Shape of the transformer.
        patch_size: Side of a square patch, pixels; for series the steps of a patch.
        image_size: Input (rows, columns), pixels; for audio (mel bins, spectrogram frames), for
            series (patches, values of a channel in a patch).
        projection: Number of dimensions of the language space.
        channels: Channels of the input.
        activation: `gelu` (erf) or `quick_gelu`.
        layer_norm_eps: Epsilon of every LayerNorm.
        frames: Frames of a video clip; 1 for all other modalities.
        temporal: Attend across frames before every spatial block.
        per_frame: V1.5's embedding (`clip_type: vl_new`): a three-dimensional patch convolution
            and a class token per frame.
        stem: How patches become tokens: `patch`, one linear map as in CLIP, which encoders may
            share, `convolutions`, a convolution stem of each encoder, or for patches of numeric
            channels `series` or `described` (see `encoders.vision.stem`).
        stem_blocks: Residual blocks after each halving of a convolution stem.
        spreads: The summary of a window of series holds the spreads of its patches.
        lora_rank, lora_alpha: Low-rank updates of the attention projections; rank 0 for none.
        patch_dropout: Share of patches masked in training.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch_size: int
    image_size: tuple[int, int]
    projection: int
    channels: int = 3
    activation: str = 'gelu'
    layer_norm_eps: float = 1e-5
    frames: int = 1
    temporal: bool = False
    per_frame: bool = False
    stem: str = 'patch'
    stem_blocks: int = 0
    spreads: bool = False
    lora_rank: int = 0
    lora_alpha: float = LORA_ALPHA
    patch_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_transformer(self.width, self.heads, self.activation)
        if self.frames < 1:
            raise ValueError(f'num_frames must be at least 1, not {self.frames}')
        if self.stem not in STEMS:
            raise ValueError(f'stem must be one of {STEMS}, not {self.stem!r}')
        if self.spreads and self.stem != 'series':
            raise ValueError(f"spreads need the stem 'series', not {self.stem!r}")
        if self.stem in SERIES_STEMS:
            self._check_series()
            return
        if self.image_size[0] < self.patch_size or self.image_size[1] < self.patch_size:
            raise ValueError(f'image_size {self.image_size} is less than a patch')
        if self.stem == 'convolutions':
            self._check_convolutions()

    def _check_convolutions(self) -> None:
        if self.per_frame:
            raise ValueError('a stem of convolutions has no class token per frame')
        if self.patch_size not in (8, 16, 32) or self.width % 32:
            raise ValueError(
                f'convolutions need patch_size 8, 16 or 32 and a width divisible by 32, '
                f'not {self.patch_size} and {self.width}'
            )
        if any(side % self.patch_size for side in self.image_size):
            raise ValueError(f'image_size {self.image_size} is not a multiple of patch_size')

    def _check_series(self) -> None:
        if self.frames != 1:
            raise ValueError('a stem of series has no frames')
        if self.image_size[0] < 1 or self.forms < 1 or self._series_values != self.image_size[1]:
            raise ValueError(
                f'image_size {self.image_size} is not (patches, values) of series with patches '
                f'of {self.patch_size} steps'
            )

    @property
    def forms(self) -> int:
        """Forms in which a series gives each channel, see `encoders.preprocess.mini.series`."""
        return (self.image_size[1] - 2) // self.patch_size - 1

    @property
    def _series_values(self) -> int:
        return self.patch_size * (self.forms + 1) + 2

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches (rows, columns)."""
        if self.stem in SERIES_STEMS:
            return self.image_size[0], 1
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def patches(self) -> int:
        """Number of patches of one frame."""
        return self.grid[0] * self.grid[1]
