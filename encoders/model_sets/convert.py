"""Converts released checkpoints to one model set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError, SpaceError
from encoders.languagebind.released import preprocessing, read_released
from encoders.model_sets.files import Options, write_set
from encoders.model_sets.manifest import (
    MANIFEST,
    Manifest,
    ModalitySpec,
    sha256_of,
)


def convert(
    folders: Mapping[str, str | Path],
    out: Path,
    *,
    name: str,
    options: Options | None = None,
    licence: str = 'MIT',
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write released checkpoints as one set; returns its folder.

    Args:
        folders: Folder of the checkpoint by modality.
        out: Folder of the set.
        name: Name of the set.
        options: By modality, preprocessing values that replace the released ones.
        licence: Licence of the weights.
        provenance: Origin of the weights, for the manifest.

    Raises:
        ModelSetError: A checkpoint is damaged, or `out` already contains a set.
        SpaceError: The checkpoints have different language spaces.
    """
    if (out / MANIFEST).exists():
        raise ModelSetError(f'{out}: already holds a set')
    found = {modality: read_released(Path(folder)) for modality, folder in folders.items()}
    first = next(iter(found.values()))
    for modality, tensors in found.items():
        if tensors.space != first.space:
            raise SpaceError(f'{modality}: {tensors.space} is not the space {first.space}')
    specs = {
        modality: ModalitySpec(
            vision=tensors.config.vision,
            preprocess=preprocessing(modality, tensors, (options or {}).get(modality)),
            source={'file': tensors.path.name, 'sha256': sha256_of(tensors.path)},
        )
        for modality, tensors in found.items()
    }
    manifest = Manifest(
        name=name,
        space=first.space,
        text=asdict(first.config.text),
        modalities=specs,
        licence=licence,
        provenance=dict(provenance or {}),
    )
    vision = {modality: tensors.vision for modality, tensors in found.items()}
    write_set(out, manifest, vision, text=first.text)
    return out
