"""What a sensor contributes at one time: a vector, tokens or statistics of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Tokens = NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The evidence of one sample.

    Attributes:
        vector: Embedding, float32 `[D]`, unit length.
        tokens: Reduced tokens, float16 `[N, width]` (`encoders.vision.readout.Readout.reduce`);
            None where the set has no readout of the modality, or where only the vector was kept.
        invalid_reason: Why it does not count, as in `encoders.Objection.reason`; empty if it
            counts.
        statistics: Of the window of a series, float32 `[S]`, for predicates that are taught
            (`encoders.preprocess.mini.statistics`); None for other modalities.
    """

    vector: Vector
    tokens: Tokens | None = None
    invalid_reason: str = ''
    statistics: Vector | None = None

    @property
    def is_finite(self) -> bool:
        """Whether no value is infinite or NaN."""
        parts = (self.vector, self.tokens, self.statistics)
        return all(bool(np.isfinite(part).all()) for part in parts if part is not None)
