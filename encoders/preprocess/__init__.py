"""From raw sensor arrays to network inputs: two families, one module per modality each.

`mini` lies here; `languagebind`, with the exact constants of the released encoders, beside their
checkpoints. Every module has a frozen configuration, stored with the model, and a function
`preprocess` that returns the network's input, float32 without the batch dimension, and the share
of the raw input that was valid. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.languagebind import preprocess as languagebind
from encoders.preprocess import audio, depth, image, infrared

MINI, LANGUAGEBIND = 'mini', 'languagebind'
MiniConfig = image.ImageConfig | depth.DepthConfig | infrared.InfraredConfig | audio.AudioConfig
Config = MiniConfig | languagebind.Config


@dataclass(frozen=True, slots=True)
class _Entry:
    config: type[Config]
    preprocess: Callable[..., tuple[Tensor, float]]


_ENTRIES: dict[tuple[str, str], _Entry] = {
    (MINI, 'image'): _Entry(image.ImageConfig, image.preprocess),
    (MINI, 'depth'): _Entry(depth.DepthConfig, depth.preprocess),
    (MINI, 'infrared'): _Entry(infrared.InfraredConfig, infrared.preprocess),
    (MINI, 'audio'): _Entry(audio.AudioConfig, audio.preprocess),
    **{
        (LANGUAGEBIND, name): _Entry(config, function)
        for name, (config, function) in languagebind.MODALITIES.items()
    },
}
_FOUND = {entry.config: (family, entry) for (family, _), entry in _ENTRIES.items()}


def preprocess(
    raw: Any, config: Config, *, device: str | torch.device = 'cpu'
) -> tuple[Tensor, float]:
    """Preprocess one sample.

    Returns:
        float32 `[3, H, W]` (video: `[3, T, H, W]`) on the device, and the valid share of the
        input, 0..1.

    Raises:
        ValueError: The array has a shape or dtype that this modality does not take.
    """
    family, entry = _FOUND[type(config)]
    if family == LANGUAGEBIND:
        return entry.preprocess(raw, config, device=device)
    inputs, valid = entry.preprocess(raw, config)
    return inputs.to(device), valid


def to_stored(raw: Any, config: Config) -> NDArray[Any]:
    """A sample in the form in which it is kept before training, as small as it can be.

    Raises:
        ValueError: The array has a shape or dtype that this modality does not take.
    """
    if isinstance(config, image.ImageConfig):
        return image.to_unit(raw, config)
    if isinstance(config, depth.DepthConfig):
        return depth.to_unit(raw, config)[0]
    if isinstance(config, infrared.InfraredConfig):
        return infrared.to_unit(raw, config)
    if isinstance(config, audio.AudioConfig):
        return audio.to_unit(raw, config)[0]
    return np.asarray(preprocess(raw, config)[0].numpy())


def stored_form(config: Config) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of what `to_stored` returns; clips have none."""
    if isinstance(config, audio.AudioConfig):
        return (config.mel_bins, config.frames), np.float16
    if isinstance(config, languagebind.audio.AudioConfig):
        return (3, config.mel_bins, config.frames), np.float32
    side = (config.size, config.size)
    if isinstance(config, image.ImageConfig):
        return (*side, 3), np.uint8
    if isinstance(config, MiniConfig):
        return side, np.uint16
    return (3, *side), np.float32


def window_s(config: Config) -> float:
    """How much sound one sample uses at the most, seconds; 0 for what is no sound."""
    if isinstance(config, audio.AudioConfig):
        return config.samples / config.rate_hz
    if isinstance(config, languagebind.audio.AudioConfig):
        return (config.window + (config.frames - 1) * config.hop) / config.rate_hz
    return 0.0


def from_stored(stored: Tensor, config: Config) -> Tensor:
    """Network inputs float32 `[..., 3, H, W]` of stored samples `[..., ]`."""
    if isinstance(config, image.ImageConfig):
        return image.normalise(stored, config)
    if isinstance(config, depth.DepthConfig):
        return depth.normalise(stored, config)
    if isinstance(config, infrared.InfraredConfig):
        return infrared.normalise(stored, config)
    if isinstance(config, audio.AudioConfig):
        return audio.normalise(stored, config)
    return stored


def family_of(config: Config) -> str:
    """`mini` or `languagebind`."""
    return _FOUND[type(config)][0]


def config_to_dict(config: Config) -> dict[str, Any]:
    """For a manifest."""
    return {'family': family_of(config), **asdict(config)}


def config_from_dict(modality: str, values: Mapping[str, Any]) -> Config:
    """The configuration of a modality from a manifest.

    Raises:
        ValueError: There is no such family or modality, or a key is unknown or missing.
    """
    given = dict(values)
    family = given.pop('family', LANGUAGEBIND)
    if (family, modality) not in _ENTRIES:
        raise ValueError(f'there is no preprocessing {family!r} of {modality}')
    kind: Any = _ENTRIES[family, modality].config
    for key in sorted(set(given) ^ {field.name for field in fields(kind)}):
        raise ValueError(f'preprocessing of {modality}: unknown or missing key {key!r}')
    config: Config = kind(**_frozen(given))
    return config


def with_options(modality: str, config: Config, options: Mapping[str, Any]) -> Config:
    """The configuration with some values replaced, by attribute.

    Raises:
        ValueError: An attribute is unknown, a value is out of range, or the family is fixed.
    """
    if options and family_of(config) == MINI:
        raise ValueError(f'preprocessing of {modality} is fixed by the training of this set')
    for key in sorted(set(options) - {field.name for field in fields(config)}):
        raise ValueError(f'preprocessing of {modality}: unknown or missing key {key!r}')
    return replace(config, **_frozen(options))


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
