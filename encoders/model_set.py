"""A model set on disk: manifest.json, weights.safetensors and, where fitted, calibration.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from encoders.modalities import modality
from encoders.preprocess import Config, config_from_dict
from encoders.vit import Adapter, Trunk, VitConfig

FORMAT = 1
MANIFEST, WEIGHTS = 'manifest.json', 'weights.safetensors'
SHIPPED = Path(__file__).resolve().parent / 'models'


class ModelSetError(ValueError):
    """A model set is damaged or incomplete; the text names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ModalitySpec:
    """One encoder of a set.

    Attributes:
        preprocess: How raw arrays become inputs.
        grid: Own position table for this many patches (rows, columns); None for the trunk's.
        lora_rank, lora_alpha: Low-rank updates; rank 0 for none.
    """

    preprocess: Config
    grid: tuple[int, int] | None = None
    lora_rank: int = 0
    lora_alpha: float = 16.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model set is.

    Attributes:
        name: For people.
        text_tower: Name of the frozen text tower.
        space: Identity of the language space the encoders were bound to.
        vit: Shape of the trunk.
        grid: Patches (rows, columns) of the trunk's position table.
        modalities: One entry per encoder.
        licence: Of the weights.
        provenance: Where the weights come from: data, recipe, steps, seed, code version.
    """

    name: str
    text_tower: str
    space: str
    vit: VitConfig
    grid: tuple[int, int]
    modalities: dict[str, ModalitySpec]
    licence: str = 'Apache-2.0'
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSet:
    """A manifest with its modules, in evaluation mode."""

    manifest: Manifest
    trunk: Trunk
    adapters: dict[str, Adapter]


def find_model_set(name_or_path: str | Path) -> Path:
    """The folder of a model set, by the name of a shipped one or by path.

    Raises:
        ModelSetError: There is none; the message lists the shipped ones.
    """
    for folder in (SHIPPED / str(name_or_path), Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return folder
    shipped = ', '.join(sorted(p.parent.name for p in SHIPPED.glob(f'*/{MANIFEST}')))
    raise ModelSetError(
        f'no model set {str(name_or_path)!r}: neither a folder with {MANIFEST} '
        f'nor one of the shipped sets ({shipped or "none"})'
    )


def build_modules(manifest: Manifest) -> tuple[Trunk, dict[str, Adapter]]:
    """Untrained modules of the shapes a manifest asks for."""
    trunk = Trunk(manifest.vit, grid=manifest.grid)
    adapters = {
        name: Adapter(
            manifest.vit, grid=spec.grid, lora_rank=spec.lora_rank, lora_alpha=spec.lora_alpha
        )
        for name, spec in manifest.modalities.items()
    }
    return trunk, adapters


def save_model_set(
    folder: Path, model_set: ModelSet, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write a model set; `dtype` is that of the stored weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.to(dtype).contiguous() for k, v in _named_tensors(model_set).items()}
    save_file(tensors, folder / WEIGHTS)
    described = asdict(model_set.manifest)
    described |= {'format': FORMAT, 'sha256': sha256_of(folder / WEIGHTS)}
    (folder / MANIFEST).write_text(json.dumps(described, indent=2) + '\n')


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest and the sha256 its weights must have.

    Raises:
        ModelSetError: The file is missing, of another format, or lacks something.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text())
        if values.pop('format') != FORMAT:
            raise ModelSetError(f'{path}: only format {FORMAT} is known')
        sha256 = values.pop('sha256')
        modalities = {
            modality(name).name: ModalitySpec(
                preprocess=config_from_dict(name, entry['preprocess']),
                grid=tuple(entry['grid']) if entry['grid'] else None,
                lora_rank=entry['lora_rank'],
                lora_alpha=entry['lora_alpha'],
            )
            for name, entry in values.pop('modalities').items()
        }
        vit, grid = VitConfig(**values.pop('vit')), tuple(values.pop('grid'))
        return Manifest(vit=vit, grid=grid, modalities=modalities, **values), sha256
    except ModelSetError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error


def load_model_set(folder: Path) -> ModelSet:
    """Load a model set strictly, as float32.

    Raises:
        ModelSetError: A hash, a name or a shape does not match; the message names it.
    """
    manifest, sha256 = read_manifest(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelSetError(f'{weights}: missing')
    if sha256_of(weights) != sha256:
        raise ModelSetError(f'{weights}: its sha256 differs from the one in {MANIFEST}')
    trunk, adapters = build_modules(manifest)
    model_set = ModelSet(manifest, trunk, adapters)
    _load_strictly(_named_tensors(model_set), load_file(weights), weights)
    trunk.eval().requires_grad_(False)
    for adapter in adapters.values():
        adapter.eval().requires_grad_(False)
    return model_set


def _named_tensors(model_set: ModelSet) -> dict[str, torch.Tensor]:
    tensors = {f'trunk.{k}': v for k, v in model_set.trunk.state_dict().items()}
    for name, adapter in model_set.adapters.items():
        tensors |= {f'adapters.{name}.{k}': v for k, v in adapter.state_dict().items()}
    return tensors


def _load_strictly(
    wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor], where: Path
) -> None:
    for name in sorted(wanted.keys() ^ found.keys()):
        kind = 'missing' if name in wanted else 'unexpected'
        raise ModelSetError(f'{where}: {kind} tensor {name}')
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            raise ModelSetError(
                f'{where}: tensor {name} has shape {list(found[name].shape)}, '
                f'expected {list(tensor.shape)}'
            )
        tensor.copy_(found[name])


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
