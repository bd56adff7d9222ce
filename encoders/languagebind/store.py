"""LanguageBind checkpoints converted once: one file of tensors, each kept once, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.calibration import Calibration
from encoders.encoder import EncoderSet, no_encoder
from encoders.languagebind.architecture import VisionTower
from encoders.languagebind.configuration import TextConfig, VisionConfig
from encoders.languagebind.golden import SENTENCE, TOLERANCE, golden_input
from encoders.languagebind.preprocess import config_from_dict
from encoders.languagebind.released import (
    LanguageBindEncoder,
    Options,
    ReleasedTensors,
    build_tower,
    preprocessing,
    read_released,
    vision_shapes,
)
from encoders.languagebind.sharing import TensorPool, digest
from encoders.languagebind.text import VOCABULARY, ClipText, text_shapes
from encoders.model_set import MANIFEST, WEIGHTS, ModelSetError, sha256_of
from encoders.space import SpaceError

FORMAT = 2
TEXT = 'text'


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest of format 2, as far as loading needs it."""

    path: Path
    values: dict[str, Any]

    @property
    def modalities(self) -> dict[str, dict[str, Any]]:
        """By name: `vision`, `preprocess`, `source`, and `places` of its tensors in the file."""
        found: dict[str, dict[str, Any]] = self.values['modalities']
        return found


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
        folders: Modality to the folder of its checkpoint.
        out: Where to.
        name: Of the set.
        options: Modality to preprocessing values that replace the released ones.
        licence: Of the weights.
        provenance: Facts for the manifest.

    Raises:
        ModelSetError: A checkpoint is damaged, or `out` already holds a set.
        SpaceError: The checkpoints lie in different language spaces.
    """
    if (out / MANIFEST).exists():
        raise ModelSetError(f'{out}: already holds a set')
    found = {modality: read_released(Path(folder)) for modality, folder in folders.items()}
    first = next(iter(found.values()))
    for modality, tensors in found.items():
        if tensors.space != first.space:
            raise SpaceError(f'{modality}: {tensors.space} is not the space {first.space}')
    modalities = {
        modality: {
            'vision': asdict(tensors.config.vision),
            'preprocess': asdict(preprocessing(modality, tensors, (options or {}).get(modality))),
            'source': {'file': tensors.path.name, 'sha256': sha256_of(tensors.path)},
        }
        for modality, tensors in found.items()
    }
    file = {f'{TEXT}/{k}': v.contiguous() for k, v in first.text.items()}
    for modality, places in _place(found, file).items():
        modalities[modality]['places'] = places
    out.mkdir(parents=True, exist_ok=True)
    save_file(file, out / WEIGHTS)
    described: dict[str, Any] = {
        'format': FORMAT,
        'name': name,
        'space': first.space,
        'licence': licence,
        'provenance': dict(provenance or {}),
        'sha256': sha256_of(out / WEIGHTS),
        'text': asdict(first.config.text),
        'modalities': modalities,
    }
    _write(out, described)
    described['golden'] = _golden(load_store(out))
    _write(out, described)
    return out


def load_store(
    folder: Path,
    *,
    modalities: Sequence[str] | None = None,
    options: Options | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> EncoderSet:
    """Load a converted set strictly.

    Raises:
        ModelSetError: The manifest or a tensor is missing or does not fit; it is named.
        SpaceError: The text tower is not the one the manifest names.
        KeyError: The set has no encoder for one of `modalities`.
    """
    stored = read_store(folder)
    for modality in modalities or ():
        if modality not in stored.modalities:
            raise no_encoder(modality, stored.values['name'], stored.modalities)
    pool = TensorPool(torch.device(device), dtype)
    path = folder / WEIGHTS
    try:
        with safe_open(path, 'pt') as file:
            config = TextConfig(**stored.values['text'])
            text = _take(
                file, path, text_shapes(config), {k: f'{TEXT}/{k}' for k in text_shapes(config)}
            )
            tower = ClipText(config, text, device=device, dtype=dtype)
            encoders = {
                name: _encoder(file, path, name, stored.modalities[name], pool, options)
                for name in modalities or stored.modalities
            }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelSetError):
            raise
        raise ModelSetError(f'{path}: {error}') from error
    if tower.space != stored.values['space']:
        raise SpaceError(f'{path}: its text tower is {tower.space}, not {stored.values["space"]}')
    text_bytes = sum(p.nbytes for p in tower.module.parameters())
    return EncoderSet(
        name=stored.values['name'],
        encoders=encoders,
        text=tower,
        held_bytes=pool.held_bytes + text_bytes,
        saved_bytes=pool.saved_bytes + text_bytes * (len(encoders) - 1),
        calibration=Calibration.load_if_present(folder),
    )


def read_store(folder: Path) -> Stored:
    """Read the manifest.

    Raises:
        ModelSetError: It is missing, damaged or of another format.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text())
        for key in ('name', 'space', 'sha256', 'text', 'modalities', 'licence', 'provenance'):
            values[key]
        if values['format'] != FORMAT:
            raise ValueError(f'format {values["format"]}, expected {FORMAT}')
    except KeyError as error:
        raise ModelSetError(f'{path}: no key {error.args[0]!r}') from error
    except (OSError, TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error
    return Stored(path, values)


def verify(folder: Path) -> dict[str, float]:
    """Recompute the hash of the weights and the vectors of the golden inputs.

    Returns:
        Largest deviation by modality (and `text`).

    Raises:
        ModelSetError: Something differs; the message says what.
    """
    stored = read_store(folder)
    if sha256_of(folder / WEIGHTS) != stored.values['sha256']:
        raise ModelSetError(f'{folder / WEIGHTS}: its sha256 differs from the one in {MANIFEST}')
    wanted, found = stored.values.get('golden'), _golden(load_store(folder))
    if not isinstance(wanted, dict) or wanted.keys() != found.keys():
        raise ModelSetError(
            f'{stored.path}: the golden vectors are missing or of other modalities'
        )
    deviations = {
        name: float(np.abs(np.subtract(vector, wanted[name])).max())
        for name, vector in found.items()
    }
    for name, deviation in deviations.items():
        if not deviation <= TOLERANCE:
            raise ModelSetError(f'{folder}: the golden vector of {name} is off by {deviation:.1e}')
    return deviations


def _place(
    found: Mapping[str, ReleasedTensors], file: dict[str, Tensor]
) -> dict[str, dict[str, str]]:
    """Put every tensor into `file` once; where each is, by modality and name."""
    known: dict[bytes, str] = {}
    places: dict[str, dict[str, str]] = {}
    for modality, tensors in found.items():
        places[modality] = {}
        for name, tensor in tensors.vision.items():
            key = digest(tensor) + str((tensor.shape, tensor.dtype)).encode()
            place = known.setdefault(key, f'{modality}/{name}')
            places[modality][name] = place
            file.setdefault(place, tensor.contiguous())
    return places


def _encoder(
    file: Any,
    path: Path,
    modality: str,
    entry: Mapping[str, Any],
    pool: TensorPool,
    options: Options | None,
) -> LanguageBindEncoder:
    shape: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in entry['vision'].items()
    }
    config = VisionConfig(**shape)
    tensors = _take(file, path, vision_shapes(config), entry['places'])
    tower: VisionTower = build_tower(config, tensors, pool)
    values = {**entry['preprocess'], **(options or {}).get(modality, {})}
    return LanguageBindEncoder(modality, tower, config_from_dict(modality, values))


def _take(
    file: Any, path: Path, shapes: Mapping[str, torch.Size], places: Mapping[str, str]
) -> dict[str, Tensor]:
    known = set(file.keys())
    for name in shapes.keys() ^ places.keys():
        kind = 'missing' if name in shapes else 'unexpected'
        raise ModelSetError(f'{path}: {kind} tensor {name}')
    tensors = {}
    for name, shape in shapes.items():
        if places[name] not in known:
            raise ModelSetError(f'{path}: missing tensor {places[name]}')
        tensors[name] = file.get_tensor(places[name])
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
        inputs, _ = encoder.preprocess(golden_input(name))
        vectors[name] = [round(v, 7) for v in encoder.encode(inputs[None])[0].tolist()]
    text = encoders.text
    if isinstance(text, ClipText) and text.vocabulary == VOCABULARY:
        vectors[TEXT] = [round(float(v), 7) for v in text.embed([SENTENCE])[0]]
    return vectors


def _write(folder: Path, described: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(described, indent=1) + '\n')
