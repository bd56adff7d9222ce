"""The file of readouts of a model set, `readout.safetensors`.

Tensors are named `MODALITY/NAME`. The metadata names the weights on which the readouts were
trained, because tokens of other weights mean something else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.manifest import Stored, read_manifest, share_with_readers
from encoders.reading import refuse_pointer
from encoders.transformer import refuse_infinite, unfilled
from encoders.vision.config import VisionConfig
from encoders.vision.readout import Readout, ReadoutConfig

FILE = 'readout.safetensors'
# A calibration of the log-odds of readouts, in the format of calibration.safetensors.
CALIBRATION = 'readout_calibration.safetensors'
FORMAT = 1
KEY = 'readout'
REMEDY = 'train it again on this set (lb-ros train readout) or delete the file'


@dataclass(frozen=True, slots=True)
class Described:
    """Metadata of a file of readouts.

    Attributes:
        space: Language space.
        weights_sha256: SHA-256 of the weights on which they were trained.
        modalities: Shape of the readout of each modality.
        provenance: Data, recipe, steps and seed of the training.
        sha256: SHA-256 of the tensors; empty if it was not recorded.
    """

    space: str
    weights_sha256: str
    modalities: dict[str, ReadoutConfig]
    provenance: dict[str, Any]
    sha256: str


def config_for(vision: VisionConfig, **shape: int) -> ReadoutConfig:
    """The shape of a readout that fits a tower; `shape` gives `width`, `heads` and the others."""
    return ReadoutConfig(
        token_width=vision.width, tokens=1 + vision.patches, text_width=vision.projection, **shape
    )


def save_readouts(
    folder: Path, readouts: Mapping[str, Readout], *, provenance: Mapping[str, Any]
) -> None:
    """Write the readouts of a model set, as float16; those of other modalities are removed.

    Args:
        folder: Folder of the set; its weights are those on which the readouts were trained.
        readouts: By modality.
        provenance: Data, recipe, steps and seed of the training.

    Raises:
        ModelSetError: A readout does not fit the set, or has values that are not finite.
    """
    stored = read_manifest(folder)
    tensors: dict[str, Tensor] = {}
    for modality, readout in readouts.items():
        _check_fits(stored, modality, readout.config)
        for name, tensor in readout.state_dict().items():
            key = f'{modality}/{name}'
            tensors[key] = tensor.detach().cpu().to(torch.float16).contiguous()
            refuse_infinite(tensors[key], f'{folder / FILE}: tensor {key} (as float16)')
    described = {
        'format': FORMAT,
        'space': stored.manifest.space,
        'weights_sha256': stored.sha256,
        'modalities': {name: asdict(readout.config) for name, readout in readouts.items()},
        'provenance': dict(provenance),
        'sha256': _sha256_of(tensors),
    }
    (folder / CALIBRATION).unlink(missing_ok=True)  # it was of other readouts
    save_file(tensors, folder / FILE, metadata={KEY: json.dumps(described)})
    share_with_readers(folder / FILE)


def describe_readouts(folder: Path) -> Described | None:
    """The metadata of the readouts of a set; None if it has none.

    Raises:
        ModelSetError: The file is damaged or of another format.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    refuse_pointer(path)
    try:
        with safe_open(path, 'pt') as file:
            values = json.loads((file.metadata() or {})[KEY])
        if values['format'] != FORMAT:
            raise ValueError(f'format {values["format"]}, expected {FORMAT}')
        return Described(
            space=str(values['space']),
            weights_sha256=str(values['weights_sha256']),
            modalities={n: ReadoutConfig(**shape) for n, shape in values['modalities'].items()},
            provenance=dict(values['provenance']),
            sha256=str(values.get('sha256', '')),
        )
    except KeyError as error:
        raise ModelSetError(f'{path}: its metadata has no {error.args[0]!r}; {REMEDY}') from error
    except (OSError, SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise ModelSetError(f'{path}: {error}; {REMEDY}') from error


def load_readouts(folder: Path, *, modalities: Sequence[str] | None = None) -> dict[str, Readout]:
    """Load the readouts of a set, float32 on the CPU, frozen; empty if it has none.

    Args:
        folder: Folder of the set.
        modalities: Only these; None for all.

    Raises:
        ModelSetError: The file is damaged, or of other weights or towers.
        SpaceError: The file is of another language space.
    """
    described = describe_readouts(folder)
    if described is None:
        return {}
    path, stored = folder / FILE, read_manifest(folder)
    if described.space != stored.manifest.space:
        raise SpaceError(f'{path} is of {described.space}, the set of {stored.manifest.space}')
    if described.weights_sha256 != stored.sha256:
        raise ModelSetError(
            f'{path} was trained on other weights ({described.weights_sha256[:12]}) than those of '
            f'the set ({stored.sha256[:12]}); {REMEDY}'
        )
    for modality, config in described.modalities.items():
        _check_fits(stored, modality, config)
    found = {m: _load(path, m, config) for m, config in described.modalities.items()}
    tensors = {f'{m}/{n}': t for m, r in found.items() for n, t in r.state_dict().items()}
    if described.sha256 and _sha256_of(tensors) != described.sha256:
        raise ModelSetError(f'{path}: its tensors differ from their sha256; {REMEDY}')
    return {m: r for m, r in found.items() if modalities is None or m in modalities}


def bytes_of(readouts: Mapping[str, Readout]) -> int:
    """Memory of the parameters of readouts, bytes."""
    return sum(p.nbytes for readout in readouts.values() for p in readout.parameters())


def identity_of(readout: Readout) -> str:
    """Identity of a readout: a hash of its shape and float16 weights.

    Only the same readout can read the tokens that one has reduced.
    """
    tensors = {name: tensor.cpu() for name, tensor in readout.state_dict().items()}
    known = json.dumps(asdict(readout.config)) + _sha256_of(tensors)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and float16 values of tensors."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].to(torch.float16).numpy().data)
    return found.hexdigest()


def _load(path: Path, modality: str, config: ReadoutConfig) -> Readout:
    with unfilled():
        readout = Readout(config)
    tensors = {}
    try:
        with safe_open(path, 'pt') as file:
            for name, wanted in readout.state_dict().items():
                found = file.get_tensor(f'{modality}/{name}')
                # A copy, so that the file does not stay mapped.
                tensors[name] = found.to(torch.float32, copy=True)
                refuse_infinite(tensors[name], f'{path}: tensor {modality}/{name}')
                if tensors[name].shape != wanted.shape:
                    raise ValueError(
                        f'tensor {modality}/{name} has shape {list(tensors[name].shape)}, '
                        f'expected {list(wanted.shape)}'
                    )
    except ModelSetError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}; {REMEDY}') from error
    readout.load_state_dict(tensors, strict=True, assign=True)
    return readout.eval().requires_grad_(False)


def _check_fits(stored: Stored, modality: str, config: ReadoutConfig) -> None:
    """Refuse a readout of a modality that the set lacks, or whose tower has another shape."""
    path, specs = stored.folder / FILE, stored.manifest.modalities
    if modality not in specs:
        raise ModelSetError(
            f'{path}: has a readout of {modality}, but the set has only '
            f'{", ".join(specs)}; {REMEDY}'
        )
    fitting = config_for(specs[modality].vision)
    for name in ('token_width', 'tokens', 'text_width'):
        found, wanted = getattr(config, name), getattr(fitting, name)
        if found != wanted:
            raise ModelSetError(
                f'{path}: the readout of {modality} has {name} {found}, '
                f'its tower {wanted}; {REMEDY}'
            )
