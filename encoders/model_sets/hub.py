"""Downloads released checkpoints from the hub, on request only."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError
from encoders.languagebind.hub_sets import HUB_SETS
from encoders.model_sets.convert import convert
from encoders.model_sets.manifest import sha256_of

FILES = ('config.json', 'pytorch_model.bin', 'model.safetensors', 'vocab.json', 'merges.txt')
NETWORK_ERRORS = ('HTTPError', 'RevisionResolutionError', 'XetDownloadError')


def pull(
    name: str,
    out: Path,
    *,
    modalities: tuple[str, ...] = (),
    revision: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Download the checkpoints of a set, check them, and convert them; returns its folder.

    Interrupted downloads resume. Every file is compared with its hash on the hub.

    Args:
        name: One of `HUB_SETS`.
        out: Folder of the converted set.
        modalities: Only these; empty for all of the set.
        revision: Branch, tag or commit of all repositories; None for the main branch.
        cache: Folder for the downloads; None for the hub's own cache.

    Raises:
        ModelSetError: The set or modality is unknown, a download failed, or a file is damaged.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    if name not in HUB_SETS:
        raise ModelSetError(f'{name}: cannot be pulled, only {", ".join(HUB_SETS)}')
    known = HUB_SETS[name].repositories
    for modality in modalities:
        if modality not in known:
            raise ModelSetError(f'{name}: has no {modality}, only {", ".join(known)}')
    folders: dict[str, str | Path] = {}
    commits = {}
    for modality in modalities or tuple(known):
        folder, commit = _download(known[modality], revision=revision, cache=cache)
        folders[modality], commits[modality] = folder, f'{known[modality]}@{commit}'
    return convert(folders, out, name=name, provenance={'repositories': commits})


def _download(repository: str, *, revision: str | None, cache: Path | None) -> tuple[Path, str]:
    hub, refused = open_hub()
    try:
        info = hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
        folder = Path(
            hub.snapshot_download(
                repository, revision=info.sha, allow_patterns=list(FILES), cache_dir=cache
            )
        )
    except refused as error:
        raise ModelSetError(
            f'{repository}: cannot be downloaded ({type(error).__name__}: {_first_line(error)}); '
            f'download its {", ".join(FILES[:2])} elsewhere and use: '
            f'lb-ros models convert MODALITY=FOLDER --out FOLDER'
        ) from error
    for file in info.siblings:
        stated = getattr(file.lfs, 'sha256', None) if file.lfs else None
        path = folder / file.rfilename
        if stated and path.is_file() and sha256_of(path) != stated:
            raise ModelSetError(f'{path}: its sha256 is not the one the hub states; delete it')
    return folder, str(info.sha)


def open_hub() -> tuple[Any, tuple[type[Exception], ...]]:
    """The hub's library with network access enabled, and the errors it may raise.

    Raises:
        ModuleNotFoundError: The library is not installed.
    """
    # The text tower of lb-mini disables network access of this library.
    os.environ['HF_HUB_OFFLINE'] = '0'
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'pulling needs huggingface_hub: pip install huggingface_hub'
        ) from error
    constants.HF_HUB_OFFLINE = False
    # Not every release of the library has all of these.
    kinds = [getattr(errors, name, OSError) for name in NETWORK_ERRORS]
    return huggingface_hub, (OSError, ValueError, RuntimeError, *kinds)


def _first_line(error: Exception) -> str:
    return re.split(r'\n', str(error).strip())[0][:200]
