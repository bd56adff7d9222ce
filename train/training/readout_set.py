"""Writing of trained readouts, and of encoders whose last blocks learned along, as a model set."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from encoders.model_sets.calibration import FILE as VECTOR_CALIBRATION
from encoders.model_sets.files import read_tensors, write_set
from encoders.model_sets.manifest import read_manifest, write_manifest
from encoders.model_sets.places import MANIFEST, WEIGHTS
from encoders.model_sets.readouts import CALIBRATION, FILE, load_readouts, save_readouts
from encoders.vision.readout import Readout
from train.training.trained_set import RELEASED

# Files of a set that hold its weights, or are valid only with them.
OF_WEIGHTS = (MANIFEST, WEIGHTS, FILE, CALIBRATION, VECTOR_CALIBRATION, RELEASED)


def write_with_readouts(
    start: Path,
    folder: Path,
    readouts: nn.ModuleDict,
    name: str,
    provenance: Mapping[str, Any],
    *,
    blocks: nn.ModuleDict,
) -> None:
    """Write a model set with new readouts; readouts of other modalities are kept.

    Args:
        start: Folder of the set that the training started from.
        folder: Folder of the new set.
        readouts: By modality.
        name: Name of the new set.
        provenance: Data, recipe, steps and seed of the training.
        blocks: `LastBlocks` by modality; if there are any, the set gets other weights and loses
            its calibrations.
    """
    kept = load_readouts(start) if (start / FILE).exists() else {}
    if blocks:
        _write_changed(start, folder, blocks, name, provenance)
    else:
        _copy(start, folder, name)
    trained = {modality: readout_of(readouts, modality).cpu() for modality in readouts}
    save_readouts(folder, {**kept, **trained}, provenance=provenance)


def readout_of(readouts: nn.ModuleDict, modality: str) -> Readout:
    """A readout among those of all modalities."""
    readout = readouts[modality]
    assert isinstance(readout, Readout)
    return readout


def _copy(start: Path, folder: Path, name: str) -> None:
    """Copy a set under another name."""
    is_other = (folder / MANIFEST).exists() and (
        read_manifest(folder).sha256 != read_manifest(start).sha256
    )
    if is_other:  # an overwritten run with other weights, whose vectors were calibrated
        (folder / VECTOR_CALIBRATION).unlink(missing_ok=True)
    shutil.copytree(start, folder, ignore=shutil.ignore_patterns(CALIBRATION), dirs_exist_ok=True)
    stored = read_manifest(folder)
    write_manifest(replace(stored, manifest=replace(stored.manifest, name=name)))


def _write_changed(
    start: Path,
    folder: Path,
    blocks: nn.ModuleDict,
    name: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write a set in which some encoders have other last blocks, in the dtype of the start.

    It has no released folders: those of the start hold the earlier blocks.
    """
    manifest, vision, text = read_tensors(start)
    specs = dict(manifest.modalities)
    for modality, learned in blocks.items():
        before = vision[modality]
        vision[modality] = before | {
            key: tensor.detach().cpu().to(before[key].dtype)
            for key, tensor in learned.state_dict().items()
        }
        specs[modality] = replace(specs[modality], source={})  # they are no longer those
    begun = {
        'name': manifest.name,
        'sha256': read_manifest(start).sha256,
        'provenance': manifest.provenance,
    }
    described = replace(
        manifest,
        name=name,
        modalities=specs,
        provenance={**provenance, 'modalities': list(blocks), 'start': begun},
    )
    shutil.copytree(start, folder, ignore=shutil.ignore_patterns(*OF_WEIGHTS), dirs_exist_ok=True)
    shutil.rmtree(folder / RELEASED, ignore_errors=True)  # of an overwritten run
    write_set(folder, described, vision, text=text or None)
