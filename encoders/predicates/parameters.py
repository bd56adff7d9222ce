"""Parameters of many predicates for the fusion, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.modalities import STANDARD
from encoders.model_sets.calibration import Fit
from encoders.predicates.predicate import Predicate
from encoders.regions import is_region, modality_of

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
# A sensor with a smaller weight is not informative; interpolation leaves such remainders.
MIN_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Column:
    """Parameters of one sensor for all `P` predicates, float32 `[P]` or bool `[P]`.

    `borrowed` is where a part of a view uses the calibration of whole images, `expected` where a
    missing sensor is worth reporting: it is named, runs by default, or was calibrated to tell.
    """

    asked: Bools
    fitted: Bools
    slope: Floats
    offset: Floats
    weight: Floats
    borrowed: Bools
    expected: Bools


def asks(predicate: Predicate, sensor: str) -> bool:
    """Whether a predicate uses a sensor; a part of a view must be named."""
    if predicate.modalities:
        return sensor in predicate.modalities
    return not is_region(sensor)


def column_of(
    sensor: str,
    predicates: Sequence[Predicate],
    fits: Sequence[Fit | None],
    *,
    asked: Sequence[bool] | Bools,
    slope: float,
) -> Column:
    """The parameters of a sensor; a part of a view has those of its modality.

    Args:
        sensor: Modality, or part of its view.
        predicates: The predicates.
        fits: The calibration of each; None without one.
        asked: Which of them use the sensor.
        slope: Slope without a calibration.
    """
    rows = []
    for predicate, fit in zip(predicates, fits, strict=True):
        own = fit is not None and sensor in fit.slope
        key = sensor if own else modality_of(sensor)
        fitted = fit is not None and key in fit.slope
        values = (slope, 0.0)
        if fit is not None and fitted:
            values = (fit.slope[key], fit.offset[key])
        weight = 1.0 if fit is None else fit.weight.get(key, 0.0)
        borrowed = fitted and key != sensor
        tells = fitted and weight >= MIN_WEIGHT
        expected = bool(predicate.modalities) or key in STANDARD or tells
        weight = predicate.weights.get(sensor, weight)
        rows.append((fitted, *values, weight, borrowed, expected))
    table = np.array(rows, np.float32).reshape(-1, 6).T
    used = np.array(asked, bool)
    slopes, offsets, weights = table[1:4]
    return Column(used, table[0] > 0, slopes, offsets, weights, table[4] > 0, table[5] > 0)


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Parameters of predicates that are read from tokens.

    Attributes:
        columns: Parameters by sensor with a readout; `asked` is whether a predicate is read.
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
        columns: Parameters by sensor, for cosines with vectors.
        tokens: Parameters for tokens; None if the model set has no readout.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]
    calibrated: Bools
    limits_ms: NDArray[np.float64]
    limit_of: NDArray[np.intp]
    columns: Mapping[str, Column]
    tokens: TokenTable | None = None
