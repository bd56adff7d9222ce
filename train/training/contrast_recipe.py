"""The recipe of `lb-ros train contrast`."""

from __future__ import annotations

from dataclasses import replace
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

from train.pairs.options import PairOptions
from train.training.languagebind import Lora
from train.training.recipe import HubName, read_recipe
from train.validated import STRICT, ModalityName, Share, plain


@dataclass(frozen=True, slots=True, config=STRICT)
class ContrastRecipe:
    """Contrastive recipe; config/recipes/languagebind-depth.yaml explains every key."""

    name: str
    start: str | dict[str, str]
    modalities: Annotated[tuple[ModalityName, ...], Field(min_length=1)]
    tuning: Literal['lora', 'full', 'probe']
    lora: Lora
    patch_dropout: dict[str, Share]
    temperature: float | None
    learn_temperature: bool
    batch: PositiveInt
    micro_batch: PositiveInt
    epochs: PositiveFloat
    max_steps: PositiveInt | None
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt
    weight_decay: NonNegativeFloat
    precision: Literal['auto', 'fp32', 'bf16', 'fp16']
    gradient_checkpointing: bool
    compile: bool
    device: str
    text_sources: tuple[str, ...]
    pairs: PairOptions
    save_every_steps: PositiveInt
    seed: NonNegativeInt
    hub: HubName = 'language'

    @field_validator('patch_dropout')
    @classmethod
    def _of_every_modality(
        cls, shares: dict[str, float], info: ValidationInfo
    ) -> dict[str, float]:
        if set(shares) != set(info.data.get('modalities', shares)):
            raise ValueError('must name every modality')
        return shares

    @field_validator('temperature')
    @classmethod
    def _in_range(cls, temperature: float | None) -> float | None:
        if temperature is not None and not 0.01 <= temperature <= 1:
            raise ValueError('must be in [0.01, 1], or null')
        return temperature

    @field_validator('pairs', mode='before')
    @classmethod
    def _not_of_other_modalities(cls, options: Any) -> Any:
        if isinstance(options, dict) and 'modalities' in options:
            raise ValueError('must not name modalities: those of the recipe are cut')
        return options or {}

    @field_validator('pairs')
    @classmethod
    def _of_its_modalities(cls, options: PairOptions, info: ValidationInfo) -> PairOptions:
        return replace(options, modalities=info.data.get('modalities', options.modalities))

    @field_validator('hub')
    @classmethod
    def _not_trained(cls, hub: HubName, info: ValidationInfo) -> HubName:
        if hub in info.data.get('modalities', ()):
            raise ValueError('must not be among the modalities: the image encoder stays frozen')
        return hub

    @property
    def cut(self) -> PairOptions:
        """How bags are cut: with images if those are the hub."""
        if self.hub == 'language':
            return self.pairs
        return replace(self.pairs, modalities=(*self.modalities, self.hub))

    def described(self) -> dict[str, Any]:
        """The recipe as JSON-compatible values."""
        return plain(self)


def load_contrast_recipe(path: Path, **changes: Any) -> ContrastRecipe:
    """Read and validate a recipe file, see `train.training.recipe.read_recipe`."""
    return read_recipe(path, ContrastRecipe, changes)
