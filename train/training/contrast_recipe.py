"""The configuration of the contrastive recipe: one YAML file, checked once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from encoders.modalities import MODALITIES
from train.pairs.options import PairOptions
from train.training.languagebind import Lora
from train.training.recipe import RecipeError, check_keys
from train.training.tower import TUNINGS

PRECISIONS = ('fp32', 'bf16', 'fp16')


@dataclass(frozen=True, slots=True)
class ContrastRecipe:
    """See config/recipes/languagebind-depth.yaml, which explains every key."""

    name: str
    start: str | dict[str, str]
    modalities: tuple[str, ...]
    tuning: str
    lora: Lora
    patch_dropout: dict[str, float]
    temperature: float | None
    learn_temperature: bool
    batch: int
    micro_batch: int
    epochs: float
    max_steps: int | None
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    precision: str
    gradient_checkpointing: bool
    compile: bool
    device: str
    text_sources: tuple[str, ...]
    pairs: PairOptions
    save_every_steps: int
    seed: int

    def described(self) -> dict[str, Any]:
        """As JSON takes it."""
        values = asdict(self) | {'pairs': self.pairs.described()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def load_contrast_recipe(path: Path, **changes: Any) -> ContrastRecipe:
    """Read and check a recipe file.

    Args:
        path: The file.
        changes: Keys that take other values than in the file.

    Raises:
        RecipeError: A key is unknown or missing, or a value is out of range.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f'{path}: {" ".join(str(error).split())}') from error
    if not isinstance(values, dict):
        raise RecipeError(f'{path}: expected a mapping of keys')
    values |= {k: v for k, v in changes.items() if v is not None}
    check_keys(path, values, ContrastRecipe)
    try:
        modalities = tuple(values['modalities'])
        lora = dict(values['lora'])
        lora['targets'] = tuple(lora.get('targets', Lora(1).targets))
        recipe = ContrastRecipe(
            **values
            | {
                'modalities': modalities,
                'lora': Lora(**lora),
                'patch_dropout': {k: float(v) for k, v in values['patch_dropout'].items()},
                'text_sources': tuple(values['text_sources']),
                'pairs': PairOptions(modalities=modalities, **(values['pairs'] or {})),
            }
        )
        _check(recipe)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecipeError(f'{path}: {error}') from error
    return recipe


def _check(recipe: ContrastRecipe) -> None:
    for name in recipe.modalities:
        if name not in MODALITIES:
            raise ValueError(
                f'unknown modality {name!r}, expected some of {", ".join(MODALITIES)}'
            )
    masks = recipe.patch_dropout
    checks = {
        'modalities must not be empty': bool(recipe.modalities),
        f'tuning must be one of {", ".join(TUNINGS)}': recipe.tuning in TUNINGS,
        'lora needs a rank and an alpha above 0': recipe.lora.rank > 0 < recipe.lora.alpha,
        'lora.dropout must be in [0, 1)': 0 <= recipe.lora.dropout < 1,
        'patch_dropout must name every modality': set(masks) == set(recipe.modalities),
        'patch_dropout must be in [0, 1)': all(0 <= share < 1 for share in masks.values()),
        'temperature must be in [0.01, 1], or null': recipe.temperature is None
        or 0.01 <= recipe.temperature <= 1,
        'batch and micro_batch must be at least 1': min(recipe.batch, recipe.micro_batch) >= 1,
        'epochs must be positive': recipe.epochs > 0,
        'max_steps must be positive, or null': recipe.max_steps is None or recipe.max_steps > 0,
        'learning_rate must be positive': recipe.learning_rate > 0,
        'warmup_steps and weight_decay must not be negative': recipe.warmup_steps >= 0
        and recipe.weight_decay >= 0,
        f'precision must be one of {", ".join(PRECISIONS)}': recipe.precision in PRECISIONS,
        'save_every_steps must be at least 1': recipe.save_every_steps >= 1,
    }
    for message, holds in checks.items():
        if not holds:
            raise ValueError(message)
