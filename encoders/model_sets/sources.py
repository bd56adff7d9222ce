"""Loads model sets from a name, a folder, OpenCLIP, or released LanguageBind folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from encoders.errors import ModelSetError
from encoders.languagebind.configuration import CONFIG, read_config
from encoders.modalities import MODALITIES
from encoders.model_sets.encoder import EncoderSet, no_encoder
from encoders.model_sets.files import load_set
from encoders.model_sets.manifest import MANIFEST, find_model_set
from encoders.model_sets.openclip import PREFIX, load_open_clip
from encoders.model_sets.released import Options, load_released

Source = str | Path | Mapping[str, str | Path]


def load_encoders(
    source: Source,
    *,
    modalities: Sequence[str] | None = None,
    options: Options | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load encoders of any family.

    Args:
        source: Name of a shipped or pulled set, a folder of a set or of one released LanguageBind
            checkpoint, `openclip:<arch>/<tag>`, or modality to the folder of a released one.
        modalities: Only these; None for all.
        options: By modality, preprocessing values that replace those of the set.
        device: Device of the weights.
        dtype: dtype of the weights.

    Raises:
        ModelSetError: The set is missing or damaged.
        SpaceError: Its encoders have different language spaces.
        KeyError: The set has no encoder for one of `modalities`.
    """
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
        return load_encoders(
            {kind: source}, modalities=modalities, options=options, device=device, dtype=dtype
        )
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


def store() -> Path:
    """Folder of pulled and converted sets: `$LB_ROS_MODELS`, or a folder in the user's cache."""
    cache = os.environ.get('XDG_CACHE_HOME') or str(Path.home() / '.cache')
    return Path(os.environ.get('LB_ROS_MODELS') or Path(cache) / 'lb_ros' / 'models')


def find_set(name_or_path: str | Path) -> Path:
    """The folder of a set by name or path.

    Raises:
        ModelSetError: The set does not exist; the message explains how to pull it, if possible.
    """
    pulled = store() / str(name_or_path)
    if (pulled / MANIFEST).is_file():
        return pulled
    try:
        return find_model_set(name_or_path)
    except ModelSetError as error:
        if not str(name_or_path).startswith('languagebind'):
            raise
        raise ModelSetError(f'{error}; get it with: lb-ros models pull {name_or_path}') from error


def is_released(source: str | Path) -> bool:
    """Whether a folder is a checkpoint in LanguageBind's released layout, not a converted set."""
    folder = Path(source)
    return (folder / CONFIG).is_file() and not (folder / MANIFEST).is_file()


def _chosen(
    known: Mapping[str, object], modalities: Sequence[str] | None, name: str
) -> Sequence[str]:
    for modality in modalities or ():
        if modality not in known:
            raise no_encoder(modality, name, known)
    return modalities or tuple(known)
