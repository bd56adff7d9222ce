"""Raw sensor arrays to network inputs: two families with one module per modality each.

`mini` is for sets trained by this repository, `languagebind` for the released encoders, with their
exact constants. Every module has a frozen configuration, stored with the model, and a function
`preprocess` that returns the network's input, float32 without the batch dimension, and the share
of the raw input that was valid. Preprocessing is deterministic. The modules of series (`wrench`,
`joints`, `imu`) have only their channels; `mini/series.py` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode.content import content_objection
from encoders.decode.options import ImageOptions
from encoders.decode.series import SeriesOptions
from encoders.decode.streams import PLAIN_SERIES, Stream, stream_of
from encoders.decode.temperature import Objection, Remark
from encoders.modalities import MODALITIES
from encoders.preprocess import languagebind as languagebind
from encoders.preprocess.columns import Columns
from encoders.preprocess.mini.series import SeriesConfig
from encoders.preprocess.mini.statistics import window_statistics

MINI, LANGUAGEBIND = 'mini', 'languagebind'
PLAIN = ImageOptions()


@runtime_checkable
class MiniConfig(Protocol):
    """The frozen dataclass in every module of `mini`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""


Config = MiniConfig | languagebind.Config


@dataclass(frozen=True, slots=True)
class _Entry:
    config: type[Config]
    preprocess: Callable[..., tuple[Tensor, float]]
    to_unit: Callable[..., Any] | None = None
    normalise: Callable[..., Tensor] | None = None
    stored_form: Callable[..., tuple[tuple[int, ...], type[np.generic]]] | None = None
    objection: Callable[..., Objection | None] | None = None
    remarks: Callable[..., list[Remark]] | None = None


def _find_mini() -> dict[tuple[str, str], _Entry]:
    """The modules that are named after a modality: `touch` has `TouchConfig` and functions."""
    found = {}
    for name in MODALITIES:
        where = f'{__name__}.mini.{name}'
        if find_spec(where) is None:
            continue
        module = import_module(where)
        found[MINI, name] = _Entry(
            config=getattr(module, f'{name.capitalize()}Config'),
            preprocess=module.preprocess,
            to_unit=module.to_unit,
            normalise=module.normalise,
            stored_form=module.stored_form,
            objection=getattr(module, 'objection', None),
            remarks=getattr(module, 'remarks', None),
        )
    return found


_ENTRIES: dict[tuple[str, str], _Entry] = {
    **_find_mini(),
    **{
        (LANGUAGEBIND, name): _Entry(
            config,
            function,
            objection=getattr(import_module(function.__module__), 'objection', None),
        )
        for name, (config, function) in languagebind.MODALITIES.items()
    },
}
_MODALITIES = {entry.config: modality for (_, modality), entry in _ENTRIES.items()}
_FOUND = {entry.config: (family, entry) for (family, _), entry in _ENTRIES.items()}


def preprocess(
    raw: Any,
    config: Config,
    *,
    device: str | torch.device = 'cpu',
    columns: Columns | None = None,
) -> tuple[Tensor, float]:
    """Preprocess one sample.

    Args:
        raw: Raw sample, as documented in the module of its modality.
        config: Preprocessing constants.
        device: Device of the result.
        columns: Source of spectrogram frames that may reuse known ones; for audio only.

    Returns:
        float32 `[3, H, W]` (video: `[3, T, H, W]`; series: `[C, patches, V]`) on the device, and
        the valid share of the input, 0..1.

    Raises:
        ValueError: The shape or dtype of the array is not supported for this modality.
    """
    known = {} if columns is None else {'columns': columns}
    return _FOUND[type(config)][1].preprocess(raw, config, device=device, **known)


def objection(raw: Any, config: Config, options: ImageOptions = PLAIN) -> Objection | None:
    """Why a sample does not count as evidence although it can be encoded; None if it counts.

    Args:
        raw: Raw sample, as for `preprocess`.
        config: Preprocessing constants of the encoder.
        options: Options with which the sample was decoded.
    """
    judge = _FOUND[type(config)][1].objection
    found = None if judge is None else judge(raw, config, options)
    return found or content_objection(_MODALITIES[type(config)], raw)


def remarks(raw: Any, config: Config) -> list[Remark]:
    """What to report about a sample that counts as evidence, one line each: masked channels."""
    find = _FOUND[type(config)][1].remarks
    return [] if find is None else find(raw, config)


def preprocess_picture(raw: Any, config: Config, *, device: str | torch.device = 'cpu') -> Tensor:
    """Preprocess one image of a video clip, float32 `[3, H, W]`, as `preprocess` does.

    Raises:
        ValueError: The shape or dtype of the array is not supported, or `config` is not for video.
    """
    if not isinstance(config, languagebind.video.VideoConfig):
        raise ValueError(f'{type(config).__name__} is not the preprocessing of a clip')
    return languagebind.video.preprocess_picture(raw, config, device=device)


def to_stored(raw: Any, config: Config) -> NDArray[Any]:
    """A sample in the compact form in which it is stored before training.

    Raises:
        ValueError: The shape or dtype of the array is not supported for this modality.
    """
    to_unit = _FOUND[type(config)][1].to_unit
    if to_unit is not None:
        stored = to_unit(raw, config)
        return np.asarray(stored[0] if isinstance(stored, tuple) else stored)
    return np.asarray(preprocess(raw, config)[0].numpy())


def stored_form(config: Config) -> tuple[tuple[int, ...], type[np.generic]]:
    """Shape and dtype of the result of `to_stored`; not defined for video clips."""
    form = _FOUND[type(config)][1].stored_form
    if form is not None:
        return form(config)
    if isinstance(config, languagebind.audio.AudioConfig):
        return (3, config.mel_bins, config.frames), np.float32
    assert not isinstance(config, MiniConfig), 'every module of mini has a stored form'
    return (3, config.size, config.size), np.float32


def window_s(config: Config) -> float:
    """Longest window of audio or series that a sample uses, seconds; 0 for other modalities."""
    if is_series(config):
        return config.window_s
    if hasattr(config, 'samples') and hasattr(config, 'rate_hz'):
        return float(config.samples / config.rate_hz)
    if isinstance(config, languagebind.audio.AudioConfig):
        return (config.window + (config.frames - 1) * config.hop) / config.rate_hz
    return 0.0


def stream_for(
    modality: str, config: Config | None, *, series: SeriesOptions = PLAIN_SERIES, **options: Any
) -> Stream:
    """The stream that cuts a modality's windows for an encoder: of a series, its channels.

    Args:
        modality: Modality of the messages.
        config: Preprocessing constants of the encoder; None for usual windows of all channels.
        series: Names and sign of a robot's series.
        options: Other options of `stream_of`.
    """
    if config is None or not is_series(config):
        return stream_of(modality, series=series, **options)
    series = replace(series, channels=config.channels, sources=config.sources)
    return stream_of(modality, series=series, series_s=config.window_s, **options)


def is_series(config: Config) -> TypeGuard[SeriesConfig]:
    """Whether a configuration is that of a series."""
    return isinstance(config, SeriesConfig)


def statistics_of(inputs: Tensor, config: Config) -> NDArray[np.float32] | None:
    """Statistics of preprocessed series, float32 `[B, S]`; None for other modalities."""
    return window_statistics(inputs, config).cpu().numpy() if is_series(config) else None


def from_stored(stored: Tensor, config: Config) -> Tensor:
    """Network inputs float32 `[..., 3, H, W]` of stored samples `[..., *stored shape]`.

    For series `[..., C, patches, V]`.
    """
    normalise = _FOUND[type(config)][1].normalise
    if normalise is not None:
        return normalise(stored, config)
    return stored


def mini_configs() -> dict[str, type[Config]]:
    """What configures each modality of `mini`."""
    return {name: entry.config for (family, name), entry in _ENTRIES.items() if family == MINI}


def mini_config(modality: str, values: Mapping[str, Any]) -> MiniConfig:
    """The configuration of a modality of `mini`; missing values have their defaults.

    Raises:
        ValueError: `mini` does not have this modality.
        TypeError: A key is unknown.
    """
    if (MINI, modality) not in _ENTRIES:
        raise ValueError(f'there is no preprocessing {MINI!r} of {modality}')
    kind: Any = _ENTRIES[MINI, modality].config
    config: MiniConfig = kind(**_frozen(values))
    return config


def family_of(config: Config) -> str:
    """`mini` or `languagebind`."""
    return _FOUND[type(config)][0]


def config_to_dict(config: Config) -> dict[str, Any]:
    """The configuration as a dictionary for a manifest."""
    return {'family': family_of(config), **asdict(config)}


def config_from_dict(modality: str, values: Mapping[str, Any]) -> Config:
    """The configuration of a modality from a manifest.

    A field marked `{'later': True}` may be missing in older manifests and then has its default.

    Raises:
        ValueError: The family or modality is unknown, or a key is unknown or missing.
    """
    given = dict(values)
    family = given.pop('family', LANGUAGEBIND)
    if (family, modality) not in _ENTRIES:
        raise ValueError(f'there is no preprocessing {family!r} of {modality}')
    kind: Any = _ENTRIES[family, modality].config
    known = {field.name: bool(field.metadata.get('later')) for field in fields(kind)}
    for key in sorted(set(given) ^ set(known)):
        if not known.get(key):
            raise ValueError(f'preprocessing of {modality}: unknown or missing key {key!r}')
    config: Config = kind(**_frozen(given))
    return config


def with_options(modality: str, config: Config, options: Mapping[str, Any]) -> Config:
    """The configuration with some attributes replaced.

    Raises:
        ValueError: An attribute is unknown, a value is out of range, or the family is `mini`,
            whose constants are fixed by training.
    """
    if options and family_of(config) == MINI:
        raise ValueError(f'preprocessing of {modality} is fixed by the training of this set')
    for key in sorted(set(options) - {field.name for field in fields(config)}):
        raise ValueError(f'preprocessing of {modality}: unknown or missing key {key!r}')
    return replace(config, **_frozen(options))


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
