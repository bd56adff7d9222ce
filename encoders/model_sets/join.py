"""Joins several model sets: each modality comes from the last set that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.files import read_tensors, write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.model_sets.places import refuse_other_set
from encoders.model_sets.readouts import describe_readouts, load_readouts, save_readouts
from encoders.vision.readout import Readout, ReadoutConfig


def join(folders: Sequence[Path], out: Path, *, name: str, overwrite: bool = False) -> Manifest:
    """Write one set with the encoders of several sets of the same language space.

    Tensors that several sets contain, such as a common trunk, are stored once. A readout comes
    with the encoder on which it was trained. The set has no calibration, because the weights of
    the sensors relative to each other are unknown.

    Args:
        folders: Folders of the sets; the last one with a modality provides it.
        out: Folder of the new set; must not be one of `folders`.
        name: Name of the new set.
        overwrite: Replace a set in `out`.

    Raises:
        ModelSetError: A set is damaged, `out` holds a set or is one of the sets, or their
            licences differ.
        SpaceError: The sets have different language spaces.
    """
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise ModelSetError(f'{out} is one of the sets to join; write to another folder')
    refuse_other_set(out, overwrite=overwrite)
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
    readouts, trained = _readouts(folders, specs, [manifest for manifest, _, _ in parts])
    write_set(out, joined, vision, text=text or None)
    if readouts:
        save_readouts(out, readouts, provenance={'joined': trained})
    return joined


def lost_readouts(folders: Sequence[Path], out: Path) -> list[str]:
    """Modalities of which one of the joined sets has a readout, but the result has none."""
    has = {m for folder in folders for m in _described(folder)}
    return sorted(has - _described(out).keys())


def _described(folder: Path) -> dict[str, ReadoutConfig]:
    described = describe_readouts(folder)
    return {} if described is None else described.modalities


def _readouts(
    folders: Sequence[Path], specs: Mapping[str, ModalitySpec], manifests: Sequence[Manifest]
) -> tuple[dict[str, Readout], list[dict[str, Any]]]:
    """The readouts of the chosen encoders, and where they come from."""
    readouts: dict[str, Readout] = {}
    trained = []
    for folder, manifest in zip(folders, manifests, strict=True):
        described = describe_readouts(folder)
        if described is None:
            continue
        chosen = [m for m, spec in manifest.modalities.items() if specs[m] is spec]
        found = load_readouts(folder, modalities=chosen)
        if found:
            readouts |= found
            trained.append(
                {
                    'name': manifest.name,
                    'modalities': list(found),
                    'provenance': described.provenance,
                }
            )
    return readouts, trained
