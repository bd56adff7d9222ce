"""The configuration of a recipe: one YAML file, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from encoders.modalities import modality
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.preprocess import MiniConfig, mini_config
from encoders.vision.config import VisionConfig

# A key that only recipes of that command have.
MARKS = {'trainable': 'lb-ros train bind', 'tuning': 'lb-ros train contrast'}


class RecipeError(ValueError):
    """A recipe file is not usable; the text names the file and the key."""


@dataclass(frozen=True, slots=True)
class VitConfig:
    """Shape of the transformer that all encoders of a set share; see `VisionConfig`.

    Attributes:
        mlp_ratio: Hidden size of a block's MLP, in widths.
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: float
    patch_size: int
    projection: int
    stem: str = 'patch'
    stem_blocks: int = 0

    def tower(self, size: tuple[int, int], *, lora_rank: int, lora_alpha: float) -> VisionConfig:
        """Shape of the tower for inputs of `size` (rows, columns), pixels.

        Raises:
            ValueError: There is no such tower.
        """
        return VisionConfig(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp_width=round(self.width * self.mlp_ratio),
            patch_size=self.patch_size,
            image_size=size,
            projection=self.projection,
            stem=self.stem,
            stem_blocks=self.stem_blocks,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """See config/recipes/lb-mini.yaml, which explains every key."""

    name: str
    text_tower: str
    trainable: str
    start: str | None
    phrasings: str
    vit: VitConfig
    modalities: dict[str, MiniConfig]
    lora_rank: int
    lora_alpha: float
    max_steps: int
    max_minutes: float
    batch: dict[str, int]
    patch_dropout: float
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    ema: float
    text_jitter: float
    contrastive_weight: float
    region_weight: dict[str, float]
    precision: str
    relations: dict[str, dict[str, float]]
    seed: int
    validate_every_minutes: float

    def manifest(self, *, space: str, provenance: dict[str, Any]) -> Manifest:
        """The model set that this recipe trains."""
        rank = self.lora_rank if self.trainable == 'lora' else 0
        specs = {
            name: ModalitySpec(
                self.vit.tower(config.input_size, lora_rank=rank, lora_alpha=self.lora_alpha),
                config,
            )
            for name, config in self.modalities.items()
        }
        return Manifest(
            name=self.name,
            space=space,
            text=self.text_tower,
            modalities=specs,
            provenance=provenance,
        )


def check_keys(path: Path, values: Mapping[str, Any], recipe: type[Any]) -> None:
    """Refuse a recipe with other keys than the fields of its dataclass.

    Raises:
        RecipeError: A key is unknown or missing; where it is the mark of the other kind of recipe,
            the text says whose it is.
    """
    known = {field.name for field in fields(recipe)}
    for mark, command in MARKS.items():
        if mark in values and mark not in known:
            raise RecipeError(f'{path}: unknown key {mark!r}; a recipe of {command}')
    for key in sorted(known ^ set(values)):
        raise RecipeError(f'{path}: {"missing" if key in known else "unknown"} key {key!r}')


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        RecipeError: A key is unknown or missing, or a value is out of range.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f'{path}: {error}') from error
    if not isinstance(values, dict):
        raise RecipeError(f'{path}: expected a mapping of keys')
    check_keys(path, values, Recipe)
    try:
        values['vit'] = VitConfig(**values['vit'])
        values['modalities'] = {
            modality(name).name: mini_config(name, options or {})
            for name, options in values['modalities'].items()
        }
        recipe = Recipe(**values)
        recipe.manifest(space='', provenance={})  # every tower has a possible shape
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f'{path}: {error}') from error
    _check(recipe, path)
    return recipe


def _check(recipe: Recipe, path: Path) -> None:
    checks = {
        "trainable must be 'all' or 'lora'": recipe.trainable in ('all', 'lora'),
        'start is required when trainable is lora': recipe.trainable == 'all' or recipe.start,
        'batch must name the modalities': set(recipe.batch) == set(recipe.modalities),
        'patch_dropout must be in [0, 1)': 0 <= recipe.patch_dropout < 1,
        'ema must be in [0, 1)': 0 <= recipe.ema < 1,
        'max_steps and max_minutes must be positive': recipe.max_steps > 0 < recipe.max_minutes,
        'relations must name the modalities': set(recipe.relations) == set(recipe.modalities),
        'relations must be names (quote `on`: YAML reads it as true)': all(
            isinstance(name, str) for shares in recipe.relations.values() for name in shares
        ),
        'region_weight must name modalities': set(recipe.region_weight) <= set(recipe.modalities),
        'region_weight needs patch_dropout 0: a part may be dropped': not recipe.region_weight
        or recipe.patch_dropout == 0,
        "precision must be 'fp32' or 'bf16'": recipe.precision in ('fp32', 'bf16'),
        'learning_rate must be positive': recipe.learning_rate > 0,
    }
    for message, holds in checks.items():
        if not holds:
            raise RecipeError(f'{path}: {message}')
