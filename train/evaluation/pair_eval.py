"""Retrieval on language pairs with any model set: sentences, sensors, and fused sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from encoders import Binder
from train.evaluation.evaluate import embed_raw
from train.evaluation.metrics import Retrieval, retrieval
from train.pairs.data import PairData
from train.pairs.record import Pair, decode

MAX_PAIRS = 1000
BATCH = 32
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbeddedPairs:
    """Vectors of pairs.

    Attributes:
        pairs: The pairs.
        vectors: float32 `[N, D]` by modality; rows of pairs without the modality are 0.
        present: bool `[N]` by modality, whether the pair has it.
        texts: Distinct sentences of all pairs.
        text_vectors: float32 `[T, D]`.
        says: bool `[N, T]`, whether each sentence is true of each pair.
    """

    pairs: Sequence[Pair]
    vectors: Mapping[str, Vectors]
    present: Mapping[str, NDArray[np.bool_]]
    texts: Sequence[str]
    text_vectors: Vectors
    says: NDArray[np.bool_]


def embed_pairs(
    binder: Binder, data: PairData, modalities: Sequence[str], *, limit: int = MAX_PAIRS
) -> EmbeddedPairs:
    """Embed all pairs, or `limit` pairs evenly spread over the data if there are more.

    Raises:
        ValueError: There is no pair.
    """
    count = len(data.source)
    if not count:
        raise ValueError('there are no pairs')
    chosen = np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))
    pairs = [data.source.read(int(index)) for index in chosen]
    vectors, present = {}, {}
    for name in modalities:
        rows = [k for k, pair in enumerate(pairs) if name in pair.modalities]
        there = np.zeros(len(pairs), bool)
        there[rows] = True
        present[name] = there
        if rows:
            samples = ({name: decode(name, pairs[row].files)} for row in rows)
            found = embed_raw(binder, samples, batch=BATCH)[name]
            vectors[name] = np.zeros((len(pairs), found.shape[1]), np.float32)
            vectors[name][rows] = found
    sentences = [data.sentences(pair) for pair in pairs]
    texts = list(dict.fromkeys(text for own in sentences for text in own))
    column = {text: k for k, text in enumerate(texts)}
    says = np.zeros((len(pairs), len(texts)), bool)
    for row, own in enumerate(sentences):
        says[row, [column[text] for text in own]] = True
    return EmbeddedPairs(pairs, vectors, present, texts, binder.embed_text(texts), says)


def retrieval_tables(found: EmbeddedPairs) -> dict[str, Retrieval]:
    """Retrieval in all possible directions: `depth -> text`, `text -> depth`, `depth -> audio`.

    Sensors are matched by pair. Two sensors that were bound only to language are compared here for
    the first time: this is the emergent alignment of Girdhar et al. 2023. `depth+image` is the
    mean of their unit vectors.
    """
    vectors = dict(found.vectors)
    present = dict(found.present)
    if {'image', 'depth'} <= set(vectors):
        vectors['depth+image'] = unit(vectors['depth'] + vectors['image'])
        present['depth+image'] = present['depth'] & present['image']
    tables = {}
    for name, own in vectors.items():
        rows = present[name]
        says = found.says[rows]
        columns = says.any(axis=0)
        if not columns.any():
            continue
        cosines = own[rows] @ found.text_vectors[columns].T
        tables[f'{name} -> text'] = retrieval(cosines, says[:, columns])
        tables[f'text -> {name}'] = retrieval(cosines.T, says[:, columns].T)
    for one, other in permutations(found.vectors, 2):
        rows = found.present[one] & found.present[other]
        if rows.sum() > 1:
            cosines = found.vectors[one][rows] @ found.vectors[other][rows].T
            tables[f'{one} -> {other}'] = retrieval(cosines, np.eye(len(cosines), dtype=bool))
    return tables


def unit(vectors: Vectors) -> Vectors:
    """Normalise rows to unit length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
