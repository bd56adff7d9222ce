"""From raw sensor arrays to network inputs, one module per modality.

Every module has a frozen configuration, stored with the model, and a function `preprocess(raw,
config)` that returns float32 `[3, H, W]` and the share of the input that was valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from encoders.preprocess import audio, depth, image, infrared

Config = image.ImageConfig | depth.DepthConfig | infrared.InfraredConfig | audio.AudioConfig
Preprocess = Callable[[Any, Any], tuple[Tensor, float]]


@dataclass(frozen=True, slots=True)
class _Entry:
    config: type[Config]
    preprocess: Preprocess


_ENTRIES: dict[str, _Entry] = {
    'image': _Entry(image.ImageConfig, image.preprocess),
    'depth': _Entry(depth.DepthConfig, depth.preprocess),
    'infrared': _Entry(infrared.InfraredConfig, infrared.preprocess),
    'audio': _Entry(audio.AudioConfig, audio.preprocess),
}


def preprocess(modality: str, raw: Any, config: Config) -> tuple[Tensor, float]:
    """Preprocess one sample.

    Returns:
        float32 `[3, H, W]` and the valid share of the input, 0..1.

    Raises:
        ValueError: The array has a shape or dtype that this modality does not take.
    """
    return _ENTRIES[modality].preprocess(raw, config)


def config_from_dict(modality: str, values: dict[str, Any]) -> Config:
    """The configuration of a modality from a manifest.

    Raises:
        ValueError: A key is unknown or missing.
    """
    kind: Any = _ENTRIES[modality].config
    known = {field.name for field in fields(kind)}
    if set(values) != known:
        odd = sorted(set(values) ^ known)
        raise ValueError(f'preprocessing of {modality}: unknown or missing key {odd[0]!r}')
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    config: Config = kind(**plain)
    return config
