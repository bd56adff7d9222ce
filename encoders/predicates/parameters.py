"""Parameters of many predicates for the fusion, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Column:
    """Parameters of one modality for all `P` predicates, float32 `[P]` or bool `[P]`."""

    asked: Bools
    fitted: Bools
    slope: Floats
    offset: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Parameters of predicates that are read from tokens.

    Attributes:
        columns: Parameters by modality with a readout; `asked` is whether a predicate is read.
        notes: By predicate, why it is not read from tokens where it is not.
        calibrated: bool `[P]`.
        has_calibration: Whether the readouts were calibrated, so that a predicate that is not is
            about something that they do not know.
    """

    columns: Mapping[str, Column]
    notes: tuple[str, ...]
    calibrated: Bools
    has_calibration: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Parameters of `P` predicates for the fusion.

    Attributes:
        names: Names of the predicates.
        notes: A note on each; may be empty.
        calibrated: Whether cosines with vectors are calibrated, bool `[P]`.
        limits_ms: The distinct maximum ages, float64 `[U]`.
        limit_of: Index of each predicate's maximum age in `limits_ms`, int `[P]`.
        columns: Parameters by modality, for cosines with vectors.
        tokens: Parameters for tokens; None if the model set has no readout.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]
    calibrated: Bools
    limits_ms: NDArray[np.float64]
    limit_of: NDArray[np.intp]
    columns: Mapping[str, Column]
    tokens: TokenTable | None = None
