"""The recipe of `lb-ros train readout`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic.dataclasses import dataclass

from train.training.recipe import read_recipe
from train.validated import STRICT, ReadOutName, Share

Weights = dict[str, NonNegativeFloat]


@dataclass(frozen=True, slots=True, config=STRICT)
class ReadoutRecipe:
    """Recipe of readouts; config/recipes/lb-mini-readout.yaml explains every key."""

    name: str
    start: str
    continued: bool
    modalities: Annotated[tuple[ReadOutName, ...], Field(min_length=1)]
    phrasings: str
    width: PositiveInt
    heads: Annotated[int, Field(ge=2)]
    layers: PositiveInt
    text_hidden: PositiveInt
    augmentations: NonNegativeInt
    batch: PositiveInt
    facts: PositiveInt
    rivals: NonNegativeInt
    rival_weight: NonNegativeFloat
    max_steps: PositiveInt
    learning_rate: PositiveFloat
    warmup_steps: PositiveInt
    weight_decay: NonNegativeFloat
    clip_norm: PositiveFloat
    ema: Share
    token_dropout: Share
    text_jitter: NonNegativeFloat
    sentences: Annotated[int, Field(ge=8)]
    attention_weight: dict[ReadOutName, NonNegativeFloat]
    relations: dict[ReadOutName, Weights]
    other_relations: NonNegativeFloat
    precision: Literal['auto', 'fp32', 'bf16']
    device: str
    save_every_steps: PositiveInt
    seed: NonNegativeInt
    unfreeze_blocks: NonNegativeInt = 0
    blocks_learning_rate: PositiveFloat = 1e-4
    keep_weight: NonNegativeFloat = 1.0

    @field_validator('modalities')
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))

    @field_validator('heads')
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get('width', heads)
        if width % heads:
            raise ValueError(f'must divide the width ({width})')
        return heads

    @field_validator('keep_weight')
    @classmethod
    def _keeps_vectors(cls, weight: float, info: ValidationInfo) -> float:
        count = info.data.get('unfreeze_blocks', 0)
        if count and not weight:
            raise ValueError(
                f'must be more than 0 with unfreeze_blocks {count}, not {weight}: without it the '
                f'vectors leave the language space; set it to 1.0, or unfreeze_blocks to 0'
            )
        return weight


def load_readout_recipe(path: Path, **changes: Any) -> ReadoutRecipe:
    """Read and validate a recipe file, see `train.training.recipe.read_recipe`."""
    return read_recipe(path, ReadoutRecipe, changes)
