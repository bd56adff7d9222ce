"""The recipe of `lb-ros train bind`, and loading of recipe files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.dataclasses import dataclass

from encoders.decode.channels import config_values
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.preprocess import MiniConfig, is_series, mini_configs
from encoders.vision.config import VisionConfig
from train.channel_file import read_channels
from train.validated import STRICT, InvalidRecordError, Share, read_record

# A key that occurs only in recipes of one command, and that command.
MARKS = {
    'trainable': 'lb-ros train bind',
    'tuning': 'lb-ros train contrast',
    'token_dropout': 'lb-ros train readout',
}
T = TypeVar('T')
HubName = Literal['language', 'image']


class RecipeError(ValueError):
    """A recipe file is not usable; the message names the file, the line and the key."""


def read_recipe(path: Path, kind: type[T], changes: Mapping[str, Any]) -> T:
    """Read and validate a recipe file.

    Args:
        path: The file.
        kind: Recipe class of the command.
        changes: Values that replace those of the file, by key; None keeps the file's value.

    Raises:
        OSError: The file cannot be read.
        RecipeError: Keys or values are wrong, or the recipe belongs to another command.
    """
    try:
        return read_record(path, kind, {k: v for k, v in changes.items() if v is not None})
    except InvalidRecordError as error:
        for mark in MARKS.keys() - kind.__dataclass_fields__.keys():  # type: ignore[attr-defined]
            for line in str(error).splitlines():
                if f'unknown key {mark!r}' in line:
                    raise RecipeError(f'{line}; a recipe of {MARKS[mark]}') from error
        raise RecipeError(str(error)) from error


def _configs(values: Any) -> Any:
    """Create the preprocessing of each modality from its options; null for the defaults."""
    if not isinstance(values, dict):
        return values
    known: dict[str, Any] = {name: (kind, None) for name, kind in mini_configs().items()}
    model = create_model('Modalities', __config__=STRICT, **known)
    given = {name: _with_channels(options or {}) for name, options in values.items()}
    found = model.model_validate(given)
    return {name: getattr(found, name) for name in values}


def _with_channels(options: Any) -> Any:
    """The options of a modality, with the channels of the file that `described` names."""
    if not isinstance(options, dict) or 'described' not in options:
        return options
    own = {key: value for key, value in options.items() if key != 'described'}
    return {**config_values(read_channels(Path(str(options['described'])))), **own}


@dataclass(frozen=True, slots=True, config=STRICT)
class VitConfig:
    """Shape of the transformer that all encoders of a set share; see `VisionConfig`.

    Attributes:
        mlp_ratio: Hidden size of a block's MLP, as a multiple of `width`.
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: float
    patch_size: int
    projection: int
    stem: str = 'patch'
    stem_blocks: int = 0
    spreads: bool = False

    def tower(self, config: MiniConfig, *, lora_rank: int, lora_alpha: float) -> VisionConfig:
        """Shape of the tower for inputs of a modality; series have their own stem and patches.

        Raises:
            ValueError: No tower can have this shape.
        """
        shape: dict[str, Any] = asdict(self) | {'lora_rank': lora_rank, 'lora_alpha': lora_alpha}
        mlp_width = round(self.width * shape.pop('mlp_ratio'))
        if is_series(config):
            stem = 'described' if config.words else 'series'
            own = {'stem': stem, 'stem_blocks': 0, 'patch_size': config.patch}
            shape |= own | {'channels': len(config.channels)}
        shape['spreads'] = self.spreads and shape['stem'] == 'series'
        return VisionConfig(**shape, mlp_width=mlp_width, image_size=config.input_size)


@dataclass(frozen=True, slots=True, config=STRICT)
class Recipe:
    """Recipe of a training from bags; config/recipes/lb-mini.yaml documents every key."""

    name: str
    text_tower: str
    trainable: Literal['all', 'lora']
    start: str | None
    phrasings: str
    vit: VitConfig
    modalities: Annotated[dict[str, MiniConfig], BeforeValidator(_configs)]
    lora_rank: PositiveInt
    lora_alpha: PositiveFloat
    max_steps: PositiveInt
    max_minutes: PositiveFloat
    batch: dict[str, PositiveInt]
    patch_dropout: Share
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup_steps: PositiveInt
    clip_norm: PositiveFloat
    ema: Share
    text_jitter: NonNegativeFloat
    contrastive_weight: NonNegativeFloat
    region_weight: dict[str, NonNegativeFloat]
    precision: Literal['auto', 'fp32', 'bf16']
    relations: dict[str, dict[str, NonNegativeFloat]]
    seed: NonNegativeInt
    validate_every_minutes: NonNegativeFloat
    absent_share: Share | None = None
    hub: HubName = 'language'

    @field_validator('start')
    @classmethod
    def _start_of_lora(cls, start: str | None, info: ValidationInfo) -> str | None:
        if info.data.get('trainable') == 'lora' and not start:
            raise ValueError('must be given where trainable is lora')
        return start

    @field_validator('batch', 'relations')
    @classmethod
    def _of_every_modality(cls, values: dict[str, Any], info: ValidationInfo) -> Any:
        if set(values) != set(info.data.get('modalities', values)):
            raise ValueError('must name the modalities')
        return values

    @field_validator('region_weight')
    @classmethod
    def _of_whole_inputs(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if not set(weights) <= set(info.data.get('modalities', weights)):
            raise ValueError('must name modalities of the recipe')
        if weights and info.data.get('patch_dropout'):
            raise ValueError('must be {} unless patch_dropout 0: a part may be dropped')
        return weights

    @field_validator('hub')
    @classmethod
    def _of_the_start(cls, hub: HubName, info: ValidationInfo) -> HubName:
        if hub != 'image':
            return hub
        if not info.data.get('start'):
            raise ValueError('image needs a start, whose image encoder stays frozen')
        if hub in info.data.get('modalities', ()):
            raise ValueError('must not be among the modalities: the image encoder stays frozen')
        if info.data.get('region_weight'):
            raise ValueError('image needs region_weight {}: named parts are bound to language')
        return hub

    def __post_init__(self) -> None:
        self.manifest(space='', provenance={})  # raises if a tower has an impossible shape

    def manifest(self, *, space: str, provenance: dict[str, Any]) -> Manifest:
        """The model set that this recipe trains."""
        rank = self.lora_rank if self.trainable == 'lora' else 0
        specs = {
            name: ModalitySpec(
                self.vit.tower(config, lora_rank=rank, lora_alpha=self.lora_alpha),
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


def load_recipe(path: Path, **changes: Any) -> Recipe:
    """Read and validate a recipe file, see `read_recipe`."""
    return read_recipe(path, Recipe, changes)
