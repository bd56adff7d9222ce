"""A model set on disk: manifest.json, weights.safetensors and an optional calibration."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError
from encoders.modalities import modality
from encoders.preprocess import Config, config_from_dict, config_to_dict
from encoders.vision.config import VisionConfig

FORMAT = 2
MANIFEST, WEIGHTS = 'manifest.json', 'weights.safetensors'
SHIPPED = Path(__file__).resolve().parents[1] / 'models'
NUMBERS = re.compile(r'\[[-\d.e,\s]+\]')  # a list of them takes one line
REQUIRED = ('name', 'space', 'sha256', 'text', 'modalities', 'licence', 'provenance')


@dataclass(frozen=True, slots=True)
class ModalitySpec:
    """One encoder of a set.

    Attributes:
        vision: Shape of the tower.
        preprocess: Preprocessing constants.
        source: Origin of the weights, if they come from a separate file.
    """

    vision: VisionConfig
    preprocess: Config
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of a model set.

    Attributes:
        name: Name of the set.
        space: Identity of the language space of the encoders.
        text: Name of a frozen text tower, or the shape of a CLIP text tower in the file of
            weights (fields of `TextConfig`).
        modalities: One entry per encoder.
        licence: Licence of the weights.
        provenance: Origin of the weights: data, recipe, steps, seed, repositories.
    """

    name: str
    space: str
    text: str | dict[str, Any]
    modalities: dict[str, ModalitySpec]
    licence: str = 'Apache-2.0'
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest, and the layout of its file of weights.

    Attributes:
        folder: Folder of both files.
        manifest: Description of the set.
        sha256: Of the weights.
        places: By modality, names in the file of tensors that are not at `modality/name`, because
            an equal tensor is stored once.
        golden: Vectors of golden inputs, by modality, and of `text`.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    places: dict[str, dict[str, str]]
    golden: dict[str, list[float]] | None = None

    @property
    def weights(self) -> Path:
        """Path of the file of weights."""
        return self.folder / WEIGHTS

    def place(self, modality: str, name: str) -> str:
        """The name in the file of a tensor of a tower."""
        return self.places[modality].get(name, f'{modality}/{name}')


def find_model_set(name_or_path: str | Path) -> Path:
    """The folder of a model set, by the name of a shipped set or by path.

    Raises:
        ModelSetError: The set does not exist; the message lists the shipped ones.
    """
    for folder in (SHIPPED / str(name_or_path), Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return folder
    shipped = ', '.join(sorted(p.parent.name for p in SHIPPED.glob(f'*/{MANIFEST}')))
    raise ModelSetError(
        f'no model set {str(name_or_path)!r}: neither a folder with {MANIFEST} '
        f'nor one of the shipped sets ({shipped or "none"})'
    )


def read_manifest(folder: Path) -> Stored:
    """Read a manifest.

    Raises:
        ModelSetError: The file is missing, incomplete, or of another format.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text())
        if values['format'] != FORMAT:
            raise ValueError(f'format {values["format"]}, expected {FORMAT}')
        for key in REQUIRED:
            values[key]
        entries = values['modalities']
        manifest = Manifest(
            name=values['name'],
            space=values['space'],
            text=values['text'],
            modalities={modality(name).name: _spec(name, entries[name]) for name in entries},
            licence=values['licence'],
            provenance=values['provenance'],
        )
        places = {name: dict(entry.get('places') or {}) for name, entry in entries.items()}
    except KeyError as error:
        raise ModelSetError(f'{path}: no key {error.args[0]!r}') from error
    except (OSError, TypeError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error
    return Stored(folder, manifest, values['sha256'], places, values.get('golden'))


def share_with_readers(path: Path) -> None:
    """Make a file readable for all who can read its folder; safetensors permits only the owner.

    The nodes of a robot may run as another user than the training.
    """
    path.chmod(path.parent.stat().st_mode & 0o666)


def write_manifest(stored: Stored) -> None:
    """Write a manifest."""
    manifest = stored.manifest
    described = {
        'format': FORMAT,
        'name': manifest.name,
        'space': manifest.space,
        'licence': manifest.licence,
        'provenance': manifest.provenance,
        'sha256': stored.sha256,
        'text': manifest.text,
        'modalities': {
            name: {
                'vision': asdict(spec.vision),
                'preprocess': config_to_dict(spec.preprocess),
                'source': spec.source,
                'places': stored.places[name],
            }
            for name, spec in manifest.modalities.items()
        },
        'golden': stored.golden,
    }
    text = json.dumps(described, indent=1)
    lines = NUMBERS.sub(lambda found: ' '.join(found[0].split()), text)
    (stored.folder / MANIFEST).write_text(lines + '\n')


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def _spec(name: str, entry: Mapping[str, Any]) -> ModalitySpec:
    shape: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in entry['vision'].items()
    }
    return ModalitySpec(
        vision=VisionConfig(**shape),
        preprocess=config_from_dict(name, entry['preprocess']),
        source=dict(entry.get('source') or {}),
    )
