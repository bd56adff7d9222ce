"""What a sensor contributes at one time: a vector, and tokens where the set has a readout."""

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
    """

    vector: Vector
    tokens: Tokens | None = None
    invalid_reason: str = ''

    @property
    def is_finite(self) -> bool:
        """Whether neither the vector nor the tokens have values that are infinite or NaN."""
        is_finite = bool(np.isfinite(self.vector).all())
        return is_finite and (self.tokens is None or bool(np.isfinite(self.tokens).all()))
