"""Loads model sets from a name, a folder, OpenCLIP, or released LanguageBind folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from encoders.decode.channels import ChannelDescription
from encoders.errors import ModelSetError
from encoders.languagebind.configuration import CONFIG, read_config
from encoders.modalities import DESCRIBED, MODALITIES
from encoders.model_sets.described import describe_encoder
from encoders.model_sets.encoder import EncoderSet, no_encoder
from encoders.model_sets.files import load_set
from encoders.model_sets.openclip import PREFIX, load_open_clip
from encoders.model_sets.places import MANIFEST, find_set
from encoders.model_sets.released import Options, load_released
from encoders.reading import snapshot_of

Source = str | Path | Mapping[str, str | Path]


def load_encoders(
    source: Source,
    *,
    modalities: Sequence[str] | None = None,
    options: Options | None = None,
    channels: Mapping[str, ChannelDescription] | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load encoders of any family.

    Args:
        source: Name of a shipped or pulled set, a folder of a set or of one released LanguageBind
            checkpoint, `openclip:<arch>/<tag>`, or modality to the folder of a released one.
        modalities: Only these; None for all.
        options: By modality, preprocessing values that replace those of the set.
        channels: Described channels that the modality `signals` has instead of those of its
            training; None for those.
        device: Device of the weights.
        dtype: dtype of the weights.

    Raises:
        ModelSetError: The set is missing or damaged.
        SpaceError: Its encoders have different language spaces.
        KeyError: The set has no encoder for one of `modalities`.
        ValueError: It has no described channels of `signals`.
    """
    found = _load(source, modalities, options, device=device, dtype=dtype)
    return found if channels is None else describe_encoder(found, DESCRIBED, channels)


def _load(
    source: Source,
    modalities: Sequence[str] | None,
    options: Options | None,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
) -> EncoderSet:
    if isinstance(source, Mapping):
        folders = {name: source[name] for name in _chosen(source, modalities, 'languagebind')}
        return load_released(folders, options=options, device=device, dtype=dtype)
    if str(source).startswith(PREFIX):
        found = load_open_clip(str(source), options=options, device=device, dtype=dtype)
        _chosen(found.encoders, modalities, found.name)
        return found
    if is_released(source):
        kind = read_config(Path(source)).modality
        if kind is None:
            raise ModelSetError(f'{source}: its {CONFIG} does not say which modality it is for')
        return _load({kind: source}, modalities, options, device=device, dtype=dtype)
    folder = find_set(source)
    return load_set(folder, modalities=modalities, options=options, device=device, dtype=dtype)


def parse_source(text: str) -> Source:
    """Parse a user's source: a set, a folder, or `MODALITY=FOLDER,MODALITY=FOLDER`.

    Raises:
        ModelSetError: A modality is unknown or named twice.
    """
    if '=' not in text or Path(text).exists():
        return text
    folders: dict[str, str | Path] = {}
    for part in text.split(','):
        name, equals, folder = part.partition('=')
        if not equals or name not in MODALITIES or name in folders:
            raise ModelSetError(
                f'{part!r} must be MODALITY=FOLDER with one of {", ".join(MODALITIES)}, each once'
            )
        folders[name] = folder
    return folders


def is_released(source: str | Path) -> bool:
    """Whether a folder is a checkpoint in LanguageBind's released layout, not a converted set."""
    folder = snapshot_of(Path(source))
    return (folder / CONFIG).is_file() and not (folder / MANIFEST).is_file()


def _chosen(
    known: Mapping[str, object], modalities: Sequence[str] | None, name: str
) -> Sequence[str]:
    for modality in modalities or ():
        if modality not in known:
            raise no_encoder(modality, name, known)
    return modalities or tuple(known)
