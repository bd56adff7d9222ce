"""Files of frozen vectors, so that a later run need not embed its sentences or images again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from encoders.atomic import write_atomically
from train.language import Embed

PART = 2048  # vectors between two writes
Known = dict[str, NDArray[np.float16]]


def embedded(texts: Sequence[str], embed: Embed, *, space: str, folder: Path | None) -> Tensor:
    """Return unit vectors of sentences, float16 `[N, D]`, from the cache as far as it has them.

    Args:
        texts: Non-empty sentences.
        embed: Function from sentences to unit vectors.
        space: Language space of `embed`; each has a file of its own.
        folder: Folder of the cache; None keeps nothing. A damaged file is replaced.

    Raises:
        OSError: The folder cannot be written.
    """
    path = cache_file(folder, 'text', space) if folder else None
    known = read_vectors(path) if path else {}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    for start in range(0, len(new), PART):
        part = new[start : start + PART]
        add_vectors(known, part, embed(part), path)
    return torch.from_numpy(np.stack([known[text] for text in texts]))


def cache_file(folder: Path, kind: str, maker: str) -> Path:
    """The file of all vectors of a kind, `text` or `image`, that one frozen tower makes.

    Args:
        folder: Folder of the cache.
        kind: First part of the file's name.
        maker: Identity of the tower.
    """
    return folder / f'{kind}-{hashlib.sha256(maker.encode()).hexdigest()[:12]}.safetensors'


def read_vectors(path: Path) -> Known:
    """Vectors by sentence, or by another key without line breaks; none if the file is damaged."""
    try:
        tensors = load_file(path)
        keys = tensors['texts'].numpy().tobytes().decode().split('\n')
        return dict(zip(keys, tensors['vectors'].numpy(), strict=True))
    except FileNotFoundError:
        return {}
    except (SafetensorError, KeyError, ValueError):
        return {}


def add_vectors(known: Known, keys: Sequence[str], vectors: Any, path: Path | None) -> None:
    """Add vectors `[N, D]` as float16 to those that are known, and write all of them.

    Raises:
        OSError: The file cannot be written.
    """
    known.update(zip(keys, np.asarray(vectors, np.float16), strict=True))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, known)


def _write(path: Path, known: Mapping[str, NDArray[np.float16]]) -> None:
    keys = torch.frombuffer(bytearray('\n'.join(known).encode()), dtype=torch.uint8)
    vectors = torch.from_numpy(np.stack(list(known.values())))
    write_atomically(path, save({'texts': keys, 'vectors': vectors}))
