"""A predicate that was taught: a posterior around its calibrated text score.

A handful of presses ("now it is true") decides in this order: which sensors count, where the
threshold of this scene is, and only then the direction in the vectors themselves. So the head is a
logistic model with a Gaussian prior: its mean is the text score, and its spreads are chosen from a
ladder by the presses themselves, each left out in turn. With few presses the text stands.

All frames of a press are averaged before they come here: they are one sample of every estimate.

Products and factors are PyTorch's, on one core. Those of NumPy and SciPy start threads, which wait
for each other where another process occupies a core: a fit then takes seconds instead of
milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.one_core import on_one_core
from encoders.predicates.left_out import MAX_STEPS, TOLERANCE, Estimate, calibrated, estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Arrays = Mapping[str, NDArray[np.float32]]

# A larger spread must improve the left-out loss by this many standard errors.
CAUTION = 2.5
# Added to the sum of squares of the gains.
DOUBT = 0.02
MIN_SCALE = 0.05  # of the log-odds of a sensor, so that noise is not magnified


@dataclass(frozen=True, slots=True)
class Spreads:
    """Standard deviations of the prior, in log-odds.

    Attributes:
        bias: Of the threshold.
        weights: Of the weight of each sensor's own log-odds.
        blocks: Of what each sensor's vector and answer add.
    """

    bias: float
    weights: float
    blocks: float

    @property
    def variance(self) -> float:
        """Variance of the log-odds that the prior leaves open."""
        return self.bias**2 + self.weights**2 + self.blocks**2


Ladder = tuple[tuple[Spreads, int], ...]
# From nothing but the threshold to mostly the presses; `LEAST` are the presses per side that a
# step needs. Two ladders, because a text without a calibrated score has nothing to keep to. What
# vectors add does not always hold in other recordings of the same scene, so it comes last.
AROUND_TEXT: Ladder = (
    (Spreads(0.5, 0.0, 0.0), 1),
    (Spreads(1.0, 0.2, 0.25), 2),
    (Spreads(1.0, 0.5, 0.5), 5),
    (Spreads(1.0, 1.0, 1.0), 5),
    (Spreads(1.0, 1.0, 2.0), 8),
    (Spreads(1.0, 2.0, 4.0), 20),
)
FROM_NOTHING: Ladder = (
    (Spreads(1.0, 1.0, 1.0), 1),
    (Spreads(1.0, 2.0, 2.0), 1),
    (Spreads(2.0, 4.0, 4.0), 3),
    (Spreads(2.0, 4.0, 8.0), 8),
)


@dataclass(frozen=True, slots=True)
class Features:
    """What `N` presses or moments hold, for one predicate and `M` sensors.

    Attributes:
        log_odds: Text log-odds of each sensor, float `[N, M]`; NaN for a silent one.
        blocks: Further evidence of each sensor, float `[N, M, D]` by name, NaN where it is
            missing: `vector`; `state`, the vector with which a readout answers the text; and
            `statistics` of the window of a series.
    """

    log_odds: NDArray[np.float32]
    blocks: Arrays

    def __len__(self) -> int:
        return len(self.log_odds)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Linear log-odds of one taught predicate; see `fit`.

    With text log-odds `t` and blocks `x`, the log-odds are
    `bias + sum over sensors with evidence of slope * t + shift + sum over blocks of weight . x`.

    Attributes:
        bias: float.
        slope, shift: float `[M]`.
        weights: By block, float32 `[M, D]`.
        share: Share of each sensor in the log-odds of the presses, float `[M]`, sum 1.
        variance: Variance of the log-odds far from all presses.
        spreads: The chosen spreads of the prior.
        left_out: Log-odds of each press without it, `[N]`; NaN for the only press of a side.
        estimate: None with fewer than two presses of a side.
    """

    bias: float
    slope: Floats
    shift: Floats
    weights: Arrays
    share: Floats
    variance: float
    spreads: Spreads
    left_out: Floats
    estimate: Estimate | None

    @property
    def identity(self) -> str:
        """Identifies the weights."""
        weights = [self.weights[name].tobytes() for name in sorted(self.weights)]
        lines = [np.float64(self.bias).tobytes(), self.slope.tobytes(), self.shift.tobytes()]
        content = b''.join([*lines, *weights])
        return hashlib.sha256(content).hexdigest()[:16]

    def log_odds(self, features: Features) -> Floats:
        """Log-odds of `N` moments."""
        there = ~np.isnan(features.log_odds)
        odds = np.where(there, features.log_odds, 0.0)
        total = self.bias + odds @ self.slope + there @ self.shift
        for name, weights in self.weights.items():
            block = np.nan_to_num(features.blocks[name])
            total = total + np.einsum('nmd,md->n', block, weights)
        return np.asarray(total, np.float64)


def fit(
    features: Features, truth: Bools, text_weights: Floats | None, *, is_calibrated: bool = True
) -> Head | None:
    """Teach one predicate.

    Args:
        features: Of `N` presses; each is the mean of its frames.
        truth: bool `[N]`.
        text_weights: Weight of each sensor's log-odds in the text score, float `[M]`; None if the
            text has no score to start from.
        is_calibrated: Whether that score is calibrated. If not, the presses may also leave the
            text, where this is clearly better.

    Returns:
        The head; None without presses of both sides.
    """
    sides = int(truth.sum()), int((~truth).sum())
    if min(sides) == 0:
        return None
    counted = np.where(truth, len(truth) / (2 * sides[0]), len(truth) / (2 * sides[1]))
    odds = np.nan_to_num(features.log_odds).astype(np.float64)
    nothing = np.zeros(odds.shape[1])
    ladders: list[tuple[Floats, Ladder]] = []
    if text_weights is not None:
        ladders.append((text_weights, AROUND_TEXT))
    if text_weights is None or not is_calibrated:
        ladders.append((nothing, FROM_NOTHING))
    with torch.inference_mode(), on_one_core():
        parts = _parts(features, truth)
        tried = [
            _Tried(spreads, own, _solve(parts.kernel(spreads), odds @ own, truth, counted))
            for own, ladder in ladders
            for spreads, least in ladder
            if least <= min(sides)
        ]
    best = _chosen(tried, truth, counted)
    solved = best.solved
    left_out = np.where(_alone(truth), np.nan, solved.left_out)
    slope, offset = calibrated(solved.left_out, truth, counted, ~_alone(truth))
    return _linear(parts, best, slope, offset, truth, left_out)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Centred and scaled features of presses.

    Attributes:
        odds: float `[N, M]`, 0 where missing.
        odds_mean, odds_scale: float `[M]`.
        heard: By name of a block, the `K` sensors that any press has, bool `[M]`.
        blocks: By name, float `[N, K, D]`, 0 where missing.
        means: By name, float `[K, D]`.
        scales: By name, float `[K]`.
        grams: Inner products of the odds and of the blocks, `[N, N]` each.
        count: Number of blocks of sensors that any press has, at least 1.
    """

    odds: Floats
    odds_mean: Floats
    odds_scale: Floats
    heard: Mapping[str, Bools]
    blocks: Mapping[str, Floats]
    means: Mapping[str, Floats]
    scales: Mapping[str, Floats]
    grams: tuple[Floats, Floats]
    count: int

    def kernel(self, spreads: Spreads) -> Floats:
        """Prior covariance of the log-odds of the presses, `[N, N]`."""
        odds, blocks = self.grams
        return spreads.bias**2 + spreads.weights**2 * odds + spreads.blocks**2 * blocks


def _parts(features: Features, truth: Bools) -> _Parts:
    there = ~np.isnan(features.log_odds)
    odds = np.where(there, features.log_odds, 0.0).astype(np.float64)
    odds_mean = _middle(odds, there, truth)
    odds = np.where(there, odds - odds_mean, 0.0)
    odds_scale = np.maximum(_size(odds**2, there), MIN_SCALE)
    odds /= odds_scale
    blocks, means, scales = {}, {}, {}
    heard: dict[str, Bools] = {}
    for name, values in features.blocks.items():
        heard[name] = np.asarray(~np.isnan(values[:, :, 0]).all(axis=0), bool)
        used = values[:, heard[name]].astype(np.float64)
        known = ~np.isnan(used[:, :, 0])
        filled = np.where(known[:, :, None], used, 0.0)
        means[name] = _middle(filled, known, truth)
        centred = np.where(known[:, :, None], filled - means[name], 0.0)
        scales[name] = np.maximum(_size((centred**2).sum(-1), known), 1e-6)
        blocks[name] = centred / scales[name][:, None]
    flat = [x.reshape(len(truth), -1) for x in blocks.values()]
    gram = sum(map(products, flat), np.zeros((len(truth), len(truth))))
    sensors = max(1, odds.shape[1])
    count = max(1, int(sum(each.sum() for each in heard.values())))
    grams = (products(odds) / sensors, gram / count)
    return _Parts(odds, odds_mean, odds_scale, heard, blocks, means, scales, grams, count)


def products(rows: NDArray[np.floating[Any]]) -> Floats:
    """Inner products of rows, `[N, D]` to `[N, N]`."""
    held = torch.from_numpy(rows)
    with on_one_core():
        return np.asarray((held @ held.T).numpy(), np.float64)


def _middle(values: Floats, known: Bools, truth: Bools) -> Floats:
    """The mean of both sides' means over known rows, `[N, M, ...]` to `[M, ...]`."""
    shape = (*known.shape, *[1] * (values.ndim - 2))
    found = []
    for side in (truth, ~truth):
        used = (known & side[:, None]).reshape(shape)
        found.append((values * used).sum(0) / np.maximum(used.sum(0), 1))
    seen = [(known & side[:, None]).any(0).reshape(shape[1:]) for side in (truth, ~truth)]
    # A sensor that only one side has is centred on that side: it must not tell sides apart.
    both = seen[0] & seen[1]
    middle = np.where(both, (found[0] + found[1]) / 2, np.where(seen[0], found[0], found[1]))
    return np.asarray(middle, np.float64)


def _size(squares: Floats, known: Bools) -> Floats:
    """Root mean of squares over known rows, `[N, M]` to `[M]`."""
    return np.asarray(np.sqrt((squares * known).sum(0) / np.maximum(known.sum(0), 1)))


@dataclass(frozen=True, slots=True)
class _Solved:
    """Posterior mode.

    Attributes:
        dual: float `[N]`: the log-odds are `mean + kernel @ dual`.
        left_out: Log-odds of each press without it, `[N]`.
    """

    dual: Floats
    left_out: Floats


@dataclass(frozen=True, slots=True)
class _Tried:
    """A step of a ladder: the weights of the text that it starts from, `[M]`, and its mode."""

    spreads: Spreads
    own: Floats
    solved: _Solved


def _solve(kernel: Floats, mean: Floats, truth: Bools, counted: Floats) -> _Solved:
    """Newton's method in the log-odds (Rasmussen and Williams 2006, algorithm 3.1).

    Leaving out a press is one Newton step from the mode: its share of the gradient, divided by
    what the others leave open.
    """
    prior, start, weight = map(torch.from_numpy, (kernel, mean, counted))
    target = torch.from_numpy(truth).double()

    def at(odds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradient, curvature `[N]` and the factor of `1 + root(curve) K root(curve)`."""
        chance = odds.sigmoid()
        curve = (weight * chance * (1 - chance)).clamp_min(1e-6)
        root = curve.sqrt()
        scaled = torch.eye(len(mean), dtype=prior.dtype) + root[:, None] * prior * root
        return weight * (target - chance), curve, torch.linalg.cholesky(scaled)

    odds, dual = start, torch.zeros_like(start)
    for _ in range(MAX_STEPS):
        gradient, curve, factor = at(odds)
        root = curve.sqrt()
        # (K + 1 / curve) dual = odds - mean + gradient / curve
        wanted = curve * (odds - start) + gradient
        inner = torch.cholesky_solve((root * (prior @ wanted))[:, None], factor)[:, 0]
        dual = wanted - root * inner
        moved = start + prior @ dual - odds
        largest = float(moved.abs().max())
        # A step of more than a few log-odds overshoots where the curve is flat.
        odds = odds + moved * min(1.0, 4.0 / max(largest, 1e-12))
        if largest < TOLERANCE:
            break
    gradient, curve, factor = at(odds)
    half = torch.linalg.solve_triangular(factor, curve.sqrt()[:, None] * prior, upper=False)
    open_ = prior.diagonal() - (half**2).sum(0)
    left_out = odds - open_ * gradient / (1 - open_ * curve).clamp_min(1e-6)
    return _Solved(dual.numpy(), left_out.numpy())


def _chosen(tried: list[_Tried], truth: Bools, counted: Floats) -> _Tried:
    """The smallest spreads whose left-out loss no larger ones improve on clearly."""
    usable = ~_alone(truth)
    best = tried[0]
    if not usable.any():  # one press a side: the smallest step
        return best
    loss = _loss(best.solved, truth, counted)[usable]
    for candidate in tried[1:]:
        other = _loss(candidate.solved, truth, counted)[usable]
        gain = loss - other
        # With few presses their own scatter is not known either.
        error = np.sqrt((gain.var() * len(gain) + DOUBT) / len(gain) ** 2)
        if gain.mean() > CAUTION * error:
            best, loss = candidate, other
    return best


def _loss(solved: _Solved, truth: Bools, counted: Floats) -> Floats:
    signed = np.where(truth, solved.left_out, -solved.left_out)
    return np.asarray(counted * np.logaddexp(0.0, -signed))


def _alone(truth: Bools) -> Bools:
    """The presses that are the only ones of their side: without them nothing is taught."""
    yes, no = truth.sum() == 1, (~truth).sum() == 1
    return np.asarray(np.where(truth, yes, no), bool)


def _linear(
    parts: _Parts,
    tried: _Tried,
    slope: float,
    offset: float,
    truth: Bools,
    left_out: Floats,
) -> Head:
    """The weights of the features as they come, with the calibration folded in."""
    sensors = max(1, parts.odds.shape[1])
    spreads, own, solved = tried.spreads, tried.own, tried.solved
    moved = spreads.weights**2 / sensors * (parts.odds.T @ solved.dual) / parts.odds_scale
    total = parts.odds * (parts.odds_scale * (own + moved))
    shift = -moved * parts.odds_mean
    weights: dict[str, NDArray[np.float32]] = {}
    for name, block in parts.blocks.items():
        along = np.einsum('nmd,n->md', block, solved.dual) * spreads.blocks**2 / parts.count
        heard = parts.heard[name]
        total[:, heard] += np.einsum('nmd,md->nm', block, along)
        along /= parts.scales[name][:, None]
        shift[heard] -= (along * parts.means[name]).sum(-1)
        weights[name] = np.zeros((len(heard), block.shape[-1]), np.float32)
        weights[name][heard] = slope * along
    sizes = np.sqrt((total**2).mean(0))
    calibrated_out = slope * left_out + offset
    return Head(
        bias=slope * spreads.bias**2 * float(solved.dual.sum()) + offset,
        slope=slope * (own + moved),
        shift=slope * shift,
        weights=weights,
        share=sizes / max(float(sizes.sum()), 1e-12),
        variance=spreads.variance,
        spreads=spreads,
        left_out=calibrated_out,
        estimate=estimate(calibrated_out, truth),
    )
