"""Left-out presses of a head: its calibration, and an honest estimate of its accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Newton steps of a fit, and the change at which it ends.
MAX_STEPS = 25
TOLERANCE = 1e-3
# Prior precision of the calibration of left-out log-odds around slope 1 and offset 0.
SLOPE_PRIOR, OFFSET_PRIOR = 20.0, 4.0
SLOPES = (0.1, 1.25)
COVERAGE = 0.95
# Before the first press of a side, it counts as this many, of which so many were right.
PRIOR_COUNT, PRIOR_HITS = 0.5, 0.375
# Correlation of the errors of the presses of a side: they are of the same few recordings, so that
# in others the accuracy differs by more than chance.
RELATED = 0.15


@dataclass(frozen=True, slots=True)
class Estimate:
    """Balanced accuracy with each press left out in turn, and its 95 % interval."""

    accuracy: float
    low: float
    high: float


def calibrated(odds: Floats, truth: Bools, counted: Floats, usable: Bools) -> tuple[float, float]:
    """Slope and offset from left-out log-odds to calibrated ones, near 1 and 0 with few presses.

    Both have a Gaussian prior. Without it, presses that are all right would make the head sure.
    """
    if usable.sum() < 4:
        return 1.0, 0.0
    target, x, weight = truth[usable].astype(float), odds[usable], counted[usable]
    slope, offset = 1.0, 0.0
    for _ in range(MAX_STEPS):
        chance = (1 + np.tanh((slope * x + offset) / 2)) / 2
        error = weight * (chance - target)
        curve = weight * chance * (1 - chance)
        gradient = [(error * x).sum() + (slope - 1) * SLOPE_PRIOR,
                    error.sum() + offset * OFFSET_PRIOR]  # fmt: skip
        mixed = (curve * x).sum()
        hessian = [[(curve * x * x).sum() + SLOPE_PRIOR, mixed],
                   [mixed, curve.sum() + OFFSET_PRIOR]]  # fmt: skip
        step = np.linalg.solve(hessian, gradient)
        slope, offset = slope - step[0], offset - step[1]
        if np.abs(step).max() < TOLERANCE:
            break
    # A reversed head would be worse than none.
    return float(np.clip(slope, *SLOPES)), float(offset)


def estimate(left_out: Floats, truth: Bools) -> Estimate | None:
    """Balanced accuracy of left-out log-odds `[N]`; None with fewer than two presses of a side.

    The interval is that of two proportions with Jeffreys' prior, of presses whose errors are
    `RELATED`; sides without an error reach 1.
    """
    known = ~np.isnan(left_out)
    shares, sides, is_faultless = [], [], True
    for side, right in ((truth, left_out > 0), (~truth, left_out < 0)):
        count, hits = int((side & known).sum()), int((right & side & known).sum())
        if count < 2:
            return None
        shares.append((hits + PRIOR_HITS) / (count + PRIOR_COUNT))
        share = 1 / (1 + RELATED * (count - 1))  # of the presses that are independent
        sides.append((share * hits + 0.5, share * (count - hits) + 0.5))
        is_faultless &= hits == count
    # The mean of two beta variables, taken as one of the same mean and variance.
    mean = sum(a / (a + b) for a, b in sides) / 2
    variance = sum(a * b / ((a + b) ** 2 * (a + b + 1)) for a, b in sides) / 4
    size = mean * (1 - mean) / variance - 1
    from scipy.special import betaincinv  # takes memory that only teaching needs

    tails = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    low, high = betaincinv(mean * size, (1 - mean) * size, tails)
    return Estimate(sum(shares) / 2, float(low), 1.0 if is_faultless else float(high))
