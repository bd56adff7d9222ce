"""A file of sentence vectors, so that a later run need not embed its training text again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from encoders.atomic import write_atomically
from train.language import Embed

PART = 2048  # sentences between two writes


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
    path = (
        folder / f'text-{hashlib.sha256(space.encode()).hexdigest()[:12]}.safetensors'
        if folder
        else None
    )
    known = _read(path) if path else {}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    for start in range(0, len(new), PART):
        part = new[start : start + PART]
        known.update(zip(part, np.asarray(embed(part), np.float16), strict=True))
    if new and path:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, known)
    return torch.from_numpy(np.stack([known[text] for text in texts]))


def _read(path: Path) -> dict[str, NDArray[np.float16]]:
    try:
        tensors = load_file(path)
        texts = tensors['texts'].numpy().tobytes().decode().split('\n')
        return dict(zip(texts, tensors['vectors'].numpy(), strict=True))
    except FileNotFoundError:
        return {}
    except (SafetensorError, KeyError, ValueError):
        return {}


def _write(path: Path, known: dict[str, NDArray[np.float16]]) -> None:
    texts = torch.frombuffer(bytearray('\n'.join(known).encode()), dtype=torch.uint8)
    vectors = torch.from_numpy(np.stack(list(known.values())))
    write_atomically(path, save({'texts': texts, 'vectors': vectors}))
