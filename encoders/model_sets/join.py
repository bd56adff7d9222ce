"""Joins several model sets: each modality comes from the last set that has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.files import read_tensors, write_set
from encoders.model_sets.manifest import Manifest


def join(folders: Sequence[Path], out: Path, *, name: str) -> Manifest:
    """Write one set with the encoders of several sets of the same language space.

    Tensors that several sets contain, such as a common trunk, are stored once. The set has no
    calibration, because the weights of the sensors relative to each other are unknown.

    Args:
        folders: Folders of the sets; the last one with a modality provides it.
        out: Folder of the new set; must not be one of `folders`.
        name: Name of the new set.

    Raises:
        ModelSetError: A set is damaged, `out` is one of the sets, or their licences differ.
        SpaceError: The sets have different language spaces.
    """
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise ModelSetError(f'{out} is one of the sets to join; write to another folder')
    parts = [read_tensors(folder) for folder in folders]
    first, _, text = parts[0]
    for folder, (manifest, _, _) in zip(folders, parts, strict=True):
        if manifest.space != first.space:
            raise SpaceError(
                f'{folder} is bound to {manifest.space}, {folders[0]} to {first.space}'
            )
        if manifest.licence != first.licence:
            raise ModelSetError(
                f'{folder} is under {manifest.licence}, {folders[0]} under {first.licence}'
            )
    specs = {m: spec for manifest, _, _ in parts for m, spec in manifest.modalities.items()}
    vision = {m: tensors for _, found, _ in parts for m, tensors in found.items()}
    sources = [
        {
            'name': manifest.name,
            'modalities': [m for m, spec in manifest.modalities.items() if specs[m] is spec],
            'provenance': manifest.provenance,
        }
        for manifest, _, _ in parts
    ]
    provenance = {'joined': [source for source in sources if source['modalities']]}
    joined = Manifest(name, first.space, first.text, specs, first.licence, provenance)
    write_set(out, joined, vision, text=text or None)
    return joined
