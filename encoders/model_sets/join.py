"""Joins several model sets: each modality comes from the last set that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.calibration import FILE, Calibration, join_calibrations
from encoders.model_sets.files import read_tensors, write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.model_sets.places import refuse_other_set
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.model_sets.readouts import FILE as READOUT
from encoders.model_sets.readouts import describe_readouts, load_readouts, save_readouts
from encoders.vision.readout import Readout, ReadoutConfig


def join(folders: Sequence[Path], out: Path, *, name: str, overwrite: bool = False) -> Manifest:
    """Write one set with the encoders of several sets of the same language space.

    Tensors that several sets contain, such as a common trunk, are stored once. Readout and
    calibration come with the encoder for which they were fitted; each sensor reads as before. The
    weights of sensors of different sets are those with which they were fitted, so that the fused
    probability of a fact that both sense is too certain where their errors are alike.

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
    sources: list[dict[str, Any]] = [
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
    _join_calibrations(folders, out, [source['modalities'] for source in sources])
    return joined


def _join_calibrations(
    folders: Sequence[Path], out: Path, chosen: Sequence[Sequence[str]]
) -> None:
    """Write the calibrations of the chosen encoders, if every set has one.

    That of readouts is of the sets that have readouts; other sensors are read from vectors.
    """
    used = [(folder, names) for folder, names in zip(folders, chosen, strict=True) if names]
    with_readouts = [pair for pair in used if (pair[0] / READOUT).exists()]
    for file, sets in ((FILE, used), (READOUT_CALIBRATION, with_readouts)):
        if file == READOUT_CALIBRATION and not (out / READOUT).exists():
            continue
        parts: list[Calibration] = []
        for folder, names in sets:
            found = Calibration.load_if_present(folder, file=file)
            parts += () if found is None else found.of_modalities(names)
        wanted = {name for _, names in sets for name in names}
        if file == READOUT_CALIBRATION:  # other sensors are calibrated by their vectors
            wanted = set(_described(out))
        if wanted <= {name for part in parts for name in part.modalities}:
            join_calibrations(parts).save(out, file=file)


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
