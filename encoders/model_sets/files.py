"""Writes and reads model sets: a manifest and one file that stores each tensor once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.encoder import EncoderSet, TextTower, no_encoder
from encoders.model_sets.golden import SENTENCE, TOLERANCE, golden_input
from encoders.model_sets.manifest import (
    Manifest,
    Stored,
    read_manifest,
    sha256_of,
    share_with_readers,
    write_manifest,
)
from encoders.model_sets.places import MANIFEST, WEIGHTS
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.model_sets.readouts import FILE as READOUT
from encoders.model_sets.readouts import bytes_of, load_readouts
from encoders.model_sets.sharing import TensorPool, digest
from encoders.model_sets.towers import TowerEncoder, build_tower
from encoders.preprocess import with_options
from encoders.reading import refuse_pointer
from encoders.text.clip import VOCABULARY, ClipText, TextConfig, text_shapes
from encoders.text.minilm import text_tower
from encoders.transformer import refuse_infinite
from encoders.vision.vit import VisionTower, vision_shapes

Options = Mapping[str, Mapping[str, Any]]
TEXT = 'text'


@dataclass(frozen=True, slots=True)
class ModelSet:
    """A manifest with its towers, which share equal parameters."""

    manifest: Manifest
    towers: dict[str, VisionTower]

    def encoders(self) -> dict[str, TowerEncoder]:
        """The encoders by modality."""
        return {
            name: TowerEncoder(tower, self.manifest.modalities[name].preprocess)
            for name, tower in self.towers.items()
        }


def write_set(
    folder: Path,
    manifest: Manifest,
    vision: Mapping[str, Mapping[str, Tensor]],
    *,
    text: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a set, including the vectors of its golden inputs.

    Args:
        folder: Target folder; an existing set is replaced.
        manifest: Description of the set.
        vision: By modality, tensors by their name in the tower.
        text: Tensors of a CLIP text tower by released name, if the manifest has its shape.
    """
    file = {f'{TEXT}/{k}': v.contiguous() for k, v in (text or {}).items()}
    places = _place(vision, file)
    folder.mkdir(parents=True, exist_ok=True)
    for file_of_other_weights in (CALIBRATION, READOUT, READOUT_CALIBRATION):
        (folder / file_of_other_weights).unlink(missing_ok=True)
    save_file(file, folder / WEIGHTS)
    share_with_readers(folder / WEIGHTS)
    stored = Stored(folder, manifest, sha256_of(folder / WEIGHTS), places)
    write_manifest(stored)
    write_manifest(replace(stored, golden=_golden(load_set(folder))))


def save_model_set(
    folder: Path, model_set: ModelSet, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write a trained set; `dtype` is the dtype of the stored weights."""
    vision = {
        modality: {k: v.detach().to(dtype) for k, v in tower.state_dict().items()}
        for modality, tower in model_set.towers.items()
    }
    write_set(folder, model_set.manifest, vision)


def load_model_set(folder: Path) -> ModelSet:
    """Read the towers of a set, float32 on the CPU, without the text tower, for training.

    Raises:
        ModelSetError: The manifest or a tensor is missing or invalid; the message names it.
    """
    stored = _intact(folder)
    pool = TensorPool(torch.device('cpu'))
    return ModelSet(stored.manifest, _towers(stored, stored.manifest.modalities, pool))


def read_tensors(folder: Path) -> tuple[Manifest, dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The stored tensors of a set, by modality and name in the tower, and of a text tower.

    Raises:
        ModelSetError: The manifest or a tensor is missing or invalid; the message names it.
    """
    stored = _intact(folder)
    with _opened(stored.weights) as file:
        vision = _vision(file, stored, stored.manifest.modalities)
        words = [key for key in sorted(file.keys()) if key.startswith(f'{TEXT}/')]
        text = {key.removeprefix(f'{TEXT}/'): file.get_tensor(key) for key in words}
    return stored.manifest, vision, text


def load_set(
    folder: Path,
    *,
    modalities: Sequence[str] | None = None,
    options: Options | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load the encoders of a set.

    Raises:
        ModelSetError: The manifest or a tensor is missing or invalid; the message names it.
        SpaceError: The text tower is not that of the manifest.
        KeyError: The set has no encoder for one of `modalities`.
    """
    stored = _intact(folder)
    manifest = stored.manifest
    chosen = tuple(modalities or manifest.modalities)
    for modality in chosen:
        if modality not in manifest.modalities:
            raise no_encoder(modality, manifest.name, manifest.modalities)
    pool = TensorPool(torch.device(device), dtype)
    towers = _towers(stored, chosen, pool)
    encoders = {}
    for name, tower in towers.items():
        try:
            config = with_options(
                name, manifest.modalities[name].preprocess, (options or {}).get(name, {})
            )
        except (TypeError, ValueError) as error:
            raise ModelSetError(f'{folder}: {error}') from error
        encoders[name] = TowerEncoder(tower, config)
    readouts = load_readouts(folder, modalities=chosen)
    text = _text(stored, device=device, dtype=dtype)
    if text.space != manifest.space:
        raise SpaceError(
            f'{folder}: the set is bound to {manifest.space}, but its text tower is {text.space}'
        )
    return EncoderSet(
        name=manifest.name,
        encoders=encoders,
        text=text,
        held_bytes=pool.held_bytes + text.nbytes + bytes_of(readouts),
        saved_bytes=pool.saved_bytes + text.nbytes * (len(encoders) - 1),
        calibration=Calibration.load_if_present(folder),
        readouts=readouts,
        readout_calibration=Calibration.load_if_present(folder, file=READOUT_CALIBRATION),
        weights_sha256=stored.sha256,
    )


def verify(folder: Path) -> dict[str, float]:
    """Recompute the hash of the weights and the vectors of the golden inputs.

    Returns:
        Largest deviation by modality, and of `text`.

    Raises:
        ModelSetError: A hash or vector differs; the message names it.
    """
    wanted, found = read_manifest(folder).golden, _golden(load_set(folder))
    if not isinstance(wanted, dict) or wanted.keys() != found.keys():
        raise ModelSetError(f'{folder / MANIFEST}: golden vectors are missing or of others')
    deviations = {
        name: float(np.abs(np.subtract(vector, wanted[name])).max())
        for name, vector in found.items()
    }
    for name, deviation in deviations.items():
        if not deviation <= TOLERANCE:
            raise ModelSetError(f'{folder}: the golden vector of {name} is off by {deviation:.1e}')
    return deviations


def _intact(folder: Path) -> Stored:
    stored = read_manifest(folder)
    try:
        refuse_pointer(stored.weights)
        found = sha256_of(stored.weights)
    except OSError as error:
        raise ModelSetError(f'{stored.weights}: {error.strerror}') from error
    if found != stored.sha256:
        raise ModelSetError(f'{stored.weights}: its sha256 differs from the one in {MANIFEST}')
    return stored


def _place(
    vision: Mapping[str, Mapping[str, Tensor]], file: dict[str, Tensor]
) -> dict[str, dict[str, str]]:
    """Add every distinct tensor to `file` once; see `Stored.places`."""
    known: dict[bytes, str] = {}
    places: dict[str, dict[str, str]] = {}
    for modality, tensors in vision.items():
        places[modality] = {}
        for name, tensor in tensors.items():
            key = digest(tensor) + str((tensor.shape, tensor.dtype)).encode()
            own = f'{modality}/{name}'
            place = known.setdefault(key, own)
            if place == own:
                file[own] = tensor.clone(memory_format=torch.contiguous_format)
            else:
                places[modality][name] = place
    return places


def _towers(stored: Stored, modalities: Iterable[str], pool: TensorPool) -> dict[str, VisionTower]:
    specs = stored.manifest.modalities
    towers = {}
    with _opened(stored.weights) as file:
        for modality in modalities:
            tensors = _vision(file, stored, [modality])[modality]
            towers[modality] = build_tower(specs[modality].vision, tensors, pool)
    return towers


def _vision(file: Any, stored: Stored, modalities: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """Tensors of some towers by name; the file must hold only tensors of the manifest."""
    specs = stored.manifest.modalities
    shapes = {name: vision_shapes(spec.vision) for name, spec in specs.items()}
    places = {m: {name: stored.place(m, name) for name in names} for m, names in shapes.items()}
    known = {place for named in places.values() for place in named.values()}
    for name in sorted(file.keys()):
        if name not in known and not name.startswith(f'{TEXT}/'):
            raise ModelSetError(f'{stored.weights}: unexpected tensor {name}')
    return {m: _take(file, stored.weights, shapes[m], places[m]) for m in modalities}


def _text(stored: Stored, *, device: str | torch.device, dtype: torch.dtype) -> TextTower:
    described = stored.manifest.text
    if isinstance(described, str):
        return text_tower(described)
    with _opened(stored.weights) as file:
        config = TextConfig(**described)
        shapes = text_shapes(config)
        tensors = _take(file, stored.weights, shapes, {name: f'{TEXT}/{name}' for name in shapes})
    return ClipText(config, tensors, device=device, dtype=dtype)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the file of tensors; errors become a ModelSetError that names the file."""
    try:
        with safe_open(path, 'pt') as file:
            yield file
    except ModelSetError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error


def _take(
    file: Any, path: Path, shapes: Mapping[str, torch.Size], places: Mapping[str, str]
) -> dict[str, Tensor]:
    known, tensors = set(file.keys()), {}
    for name, shape in shapes.items():
        if places[name] not in known:
            raise ModelSetError(f'{path}: missing tensor {places[name]}')
        tensors[name] = file.get_tensor(places[name])
        refuse_infinite(tensors[name], f'{path}: tensor {places[name]}')
        if tensors[name].shape != shape:
            raise ModelSetError(
                f'{path}: tensor {places[name]} has shape {list(tensors[name].shape)}, '
                f'expected {list(shape)}'
            )
    return tensors


@torch.inference_mode()
def _golden(encoders: EncoderSet) -> dict[str, list[float]]:
    vectors = {}
    for name, encoder in encoders.encoders.items():
        inputs, _ = encoder.preprocess(golden_input(name, encoder.config))
        vectors[name] = [round(v, 7) for v in encoder.encode(inputs[None])[0].tolist()]
    text = encoders.text
    if not isinstance(text, ClipText) or text.vocabulary == VOCABULARY:
        vectors[TEXT] = [round(float(v), 7) for v in text.embed([SENTENCE])[0]]
    return vectors
