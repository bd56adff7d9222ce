"""Codes of sensors, appended to vectors of an index.

Stored vectors and queries are embeddings plus `CODE_SIZE` dimensions that identify the sensor.
This keeps the order of cosines within a sensor, but each cell of the approximate index holds only
one sensor, so that a search visits only cells of its sensor. Without the code, a sentence, whose
vector is far from those of all sensors, would be searched in cells of the wrong sensor.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoders import SENSED

CODE_SIZE, CODE_VALUE = 8, 0.4
# Length of a coded vector relative to its embedding; other sensors are never close.
CODED_LENGTH = math.sqrt(1 + CODE_SIZE * CODE_VALUE**2)


def coded(vectors: NDArray[np.float32], modalities: NDArray[np.str_]) -> NDArray[np.float32]:
    """Append the codes of the sensors to vectors `[N, D]`: `[N, D + CODE_SIZE]`."""
    codes = np.stack([_code(str(name)) for name in modalities]) if len(modalities) else None
    if codes is None:
        codes = np.zeros((0, CODE_SIZE), np.float32)
    return np.concatenate([vectors, codes], axis=1, dtype=np.float32)


@lru_cache(maxsize=64)
def _code(modality: str) -> NDArray[np.float32]:
    """Signs that are orthogonal or opposite to those of other sensors.

    They are a row of a Hadamard matrix, or its negative after the first `CODE_SIZE` sensors.
    """
    place = SENSED.index(modality) if modality in SENSED else CODE_SIZE - 1
    row = (1 + place) % CODE_SIZE
    signs = [(-1) ** bin(row & column).count('1') for column in range(CODE_SIZE)]
    value = CODE_VALUE if place < CODE_SIZE else -CODE_VALUE
    return value * np.array(signs, np.float32)
