"""Reads checkpoints in all layouts of LanguageBind's releases and training.

Tensors get their names in the plain, released state dictionary: LoRA matrices are `...lora_A` and
`...lora_B`, without the prefixes of peft and distributed training.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from encoders.errors import ModelSetError

# In order of preference.
WEIGHTS = ('model.safetensors', 'pytorch_model.bin')
INDEXES = ('model.safetensors.index.json', 'pytorch_model.bin.index.json')
SUFFIXES = ('.safetensors', '.bin', '.pt', '.pth')
_LORA = re.compile(r'\.lora_([AB])(\.[^.]+)?\.weight$')
_LAYER = re.compile(r'\.layers\.(\d+)\.')


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors with their plain names.

    Attributes:
        path: The file, for messages.
        tensors: Tensors by plain name.
        original: Plain name to the name in the file.
    """

    path: Path
    tensors: dict[str, Tensor]
    original: dict[str, str]

    def lora_rank(self, stated: int) -> int:
        """Rank of the low-rank updates; 0 if there are none or they are merged.

        Args:
            stated: Rank in the configuration. It is used if any tensor has it; otherwise the
                tensors decide.
        """
        ranks = [len(t) for name, t in self.tensors.items() if name.endswith('.lora_A')]
        return stated if stated in ranks else (ranks[0] if ranks else 0)

    def take(self, wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """The tensors of these names.

        Raises:
            ModelSetError: A tensor is missing or has another shape.
        """
        for name, shape in wanted.items():
            if name not in self.tensors:
                raise ModelSetError(f'{self.path}: missing tensor {self.name_in_file(name)}')
            if self.tensors[name].shape != shape:
                raise ModelSetError(
                    f'{self.path}: tensor {self.original[name]} has shape '
                    f'{list(self.tensors[name].shape)}, expected {list(shape)}'
                )
        return {name: self.tensors[name] for name in wanted}

    def refuse_others(self, known: set[str]) -> None:
        """Check that there are no other tensors.

        Raises:
            ModelSetError: There is an unexpected tensor.
        """
        for name in self.tensors:
            if name not in known:
                raise ModelSetError(f'{self.path}: unexpected tensor {self.original[name]}')

    def name_in_file(self, name: str) -> str:
        """The name that a missing tensor would have in the file, derived from other layers."""
        for other in self.tensors:
            if other != name and _LAYER.sub('.layers.N.', other) == _LAYER.sub('.layers.N.', name):
                number = _LAYER.search(name)
                assert number is not None
                return _LAYER.sub(f'.layers.{number[1]}.', self.original[other])
        return name


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights, or a folder with one.

    Raises:
        ModelSetError: The file is missing or damaged, or two names mean the same tensor.
    """
    found = _find(path)
    tensors: dict[str, Tensor] = {}
    original: dict[str, str] = {}
    for name, tensor in _read(found).items():
        plain = plain_name(name)
        if plain.endswith('.position_ids'):  # a buffer of indices
            continue
        if plain in tensors:
            raise ModelSetError(f'{found}: {original[plain]} and {name} are the same tensor')
        if not tensor.is_floating_point():
            raise ModelSetError(f'{found}: tensor {name} is {tensor.dtype}, expected floats')
        tensors[plain], original[plain] = tensor, name
    return Checkpoint(found, tensors, original)


def plain_name(name: str) -> str:
    """The name without the prefixes of peft (old and new) and distributed training."""
    name = name.removeprefix('module.')
    name = name.replace('.base_model.model.', '.').replace('.base_layer.', '.')
    return _LORA.sub(r'.lora_\1', name)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for name in (*WEIGHTS, *INDEXES):
        if (path / name).is_file():
            return path / name
    others = sorted(p for p in path.glob('*') if p.suffix in SUFFIXES)
    if len(others) == 1:
        return others[0]
    listed = f'; which of {", ".join(p.name for p in others)}?' if others else ''
    raise ModelSetError(f'{path}: holds no {" or ".join(WEIGHTS)}{listed}')


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.name in INDEXES:
            return _read_parts(path)
        if path.suffix == '.safetensors':
            return load_file(path)
        return _plain_dictionary(_load_pickle(path))
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise ModelSetError(f'{path}: cannot be read: {error}') from error
    except (KeyError, ValueError) as error:
        raise ModelSetError(f'{path}: {error}') from error


def _read_parts(index: Path) -> dict[str, Tensor]:
    places: dict[str, str] = json.loads(index.read_text())['weight_map']
    tensors: dict[str, Tensor] = {}
    for part in sorted(set(places.values())):
        tensors |= _read(index.parent / part)
    for name in places:
        if name not in tensors:
            raise ValueError(f'{places[name]} does not hold {name}')
    return tensors


def _load_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except RuntimeError:  # files from before PyTorch 1.6 cannot be mapped
        return torch.load(path, map_location='cpu', weights_only=True)


def _plain_dictionary(loaded: Any) -> dict[str, Tensor]:
    """The state dictionary in a training checkpoint."""
    if isinstance(loaded, Mapping) and isinstance(loaded.get('state_dict'), Mapping):
        loaded = loaded['state_dict']
    if not isinstance(loaded, Mapping):
        raise ValueError(f'holds a {type(loaded).__name__}, not a dictionary of tensors')
    for name, value in loaded.items():
        if not isinstance(value, Tensor):
            raise ValueError(f'entry {name!r} is a {type(value).__name__}, not a tensor')
    return dict(loaded)
