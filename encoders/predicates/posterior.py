"""Posterior modes of logistic models with a Gaussian prior, many at once, and their left-out fits.

Products and factors are PyTorch's, on one core. Those of NumPy and SciPy start threads, which wait
for each other where another process occupies a core: a fit then takes seconds instead of
milliseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.predicates.left_out import MAX_STEPS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TOLERANCE = 0.02  # of the last step in log-odds: the next, which is left out, would be its square
# Values of a batch of kernels: small ones take as long together as one of them, large ones longer.
BATCH_VALUES = 16_384
MAX_MOVE = 4.0  # of log-odds in a step: a longer one overshoots where the curve is flat


class Modes(NamedTuple):
    """Posterior modes of `B` models of `N` presses.

    Attributes:
        dual: float `[B, N]`: the log-odds are `mean + kernel @ dual`.
        odds: Log-odds of the presses, `[B, N]`.
        left_out: Likewise, each without its press.
    """

    dual: Floats
    odds: Floats
    left_out: Floats


def modes(
    kernels: Floats, means: Floats, truth: Bools, counted: Floats, *, most_steps: int = MAX_STEPS
) -> Modes:
    """Newton's method in the log-odds (Rasmussen and Williams 2006, algorithm 3.1).

    Leaving out a press is one Newton step from the mode: its share of the gradient, divided by
    what the others leave open.

    Args:
        kernels: Prior covariance of the log-odds, float `[B, N, N]`.
        means: Prior mean, float `[B, N]`.
        truth: bool `[N]`.
        counted: Weight of each press, float `[N]`.
        most_steps: Steps after which the search ends.
    """
    size = max(1, BATCH_VALUES // kernels.shape[1] ** 2)
    found: list[Modes] = []
    for at in range(0, len(kernels), size):
        # Steps of a ladder are alike: one by one, each starts where the last ended.
        begun = found[-1].odds if found and size == 1 else means[at : at + size]
        found.append(
            _modes(
                kernels[at : at + size], means[at : at + size], begun, truth, counted, most_steps
            )
        )
    return Modes(*map(np.concatenate, zip(*found, strict=True)))


def _modes(
    kernels: Floats, means: Floats, begun: Floats, truth: Bools, counted: Floats, most_steps: int
) -> Modes:
    # Single precision takes half the time, and is far finer than `TOLERANCE`.
    prior, start, odds, weight = (
        torch.from_numpy(each).float() for each in (kernels, means, begun, counted)
    )
    target = torch.from_numpy(truth).float()
    one = torch.eye(start.shape[1], dtype=prior.dtype)

    def at(odds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradient, curvature `[B, N]` and the factor of `1 + root(curve) K root(curve)`."""
        chance = odds.sigmoid()
        curve = (weight * chance * (1 - chance)).clamp_min(1e-6)
        root = curve.sqrt()
        scaled = one + root[:, :, None] * prior * root[:, None, :]
        return weight * (target - chance), curve, torch.linalg.cholesky(scaled)

    dual = torch.zeros_like(start)
    for _ in range(most_steps):
        gradient, curve, factor = at(odds)
        root = curve.sqrt()
        # (K + 1 / curve) dual = odds - mean + gradient / curve
        wanted = curve * (odds - start) + gradient
        inner = torch.cholesky_solve(root[:, :, None] * (prior @ wanted[:, :, None]), factor)
        dual = wanted - root * inner[:, :, 0]
        moved = start + (prior @ dual[:, :, None])[:, :, 0] - odds
        largest = moved.abs().amax(dim=1, keepdim=True)
        odds = odds + moved * (MAX_MOVE / largest.clamp_min(1e-12)).clamp_max(1.0)
        if float(largest.max()) < TOLERANCE:
            break
    gradient, curve, factor = at(odds)
    half = torch.linalg.solve_triangular(factor, curve.sqrt()[:, :, None] * prior, upper=False)
    open_ = prior.diagonal(dim1=1, dim2=2) - (half**2).sum(1)
    left_out = odds - open_ * gradient / (1 - open_ * curve).clamp_min(1e-6)
    return Modes(*(each.double().numpy() for each in (dual, odds, left_out)))


def left_out_loss(left_out: Floats, truth: Bools, counted: Floats) -> Floats:
    """Negative log-likelihood of each press by its left-out log-odds, `[..., N]`."""
    signed = np.where(truth, left_out, -left_out)
    return np.asarray(counted * np.logaddexp(0.0, -signed))
