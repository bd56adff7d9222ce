"""A predicate that was taught: a posterior around its calibrated text score.

A handful of presses ("now it is true") decides in this order: which sensors count, where the
threshold of this scene is, and only then the direction in the vectors themselves. So the head is a
logistic model with a Gaussian prior: its mean is the text score, and its spreads are chosen from a
ladder by the presses themselves, each left out in turn. With few presses the text stands. Series
share what the prior leaves to their vectors and statistics by how well each alone predicts the
left-out presses, because those that do not feel the predicate would otherwise drown the one that
does.

All frames of a press are averaged before they come here: they are one sample of every estimate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.one_core import on_one_core
from encoders.predicates.left_out import Estimate, calibrated, estimate
from encoders.predicates.posterior import left_out_loss, modes
from encoders.predicates.prior import Parts, parts_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Arrays = Mapping[str, NDArray[np.float32]]

# A larger spread must improve the left-out loss by this many standard errors.
CAUTION = 2.5
# Added to the sum of squares of the gains.
DOUBT = 0.02
# Of the prior with which each block alone predicts the left-out presses, for its share.
ALONE_BIAS, ALONE_BLOCK = 1.0, 2.0
ALONE_STEPS = 3


@dataclass(frozen=True, slots=True)
class Spreads:
    """Standard deviations of the prior, in log-odds.

    Attributes:
        bias: Of the threshold.
        weights: Of the weight of each sensor's own log-odds.
        blocks: Of what vectors, answers and statistics add, which sensors share.
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
    ladders = [] if text_weights is None else [(text_weights, AROUND_TEXT)]
    if text_weights is None or not is_calibrated:
        ladders.append((nothing, FROM_NOTHING))
    steps = [
        (own, spreads)
        for own, ladder in ladders
        for spreads, least in ladder
        if least <= min(sides)
    ]
    with torch.inference_mode(), on_one_core():
        parts = parts_of(features.log_odds, features.blocks, truth)
        shares, grams = _shared(parts, odds @ steps[0][0], truth, counted)
        tried = _tried(parts, grams, steps, odds, truth, counted)
        best = _chosen(tried, truth, counted)
        kernel = _kernels(parts, best.spreads, grams[:1])
        dual = modes(kernel, (odds @ best.own)[None], truth, counted).dual[0]
    left_out = np.where(_alone(truth), np.nan, best.left_out)
    slope, offset = calibrated(best.left_out, truth, counted, ~_alone(truth))
    return _linear(parts, shares, best, dual, slope, offset, left_out, truth)


@dataclass(frozen=True, slots=True)
class _Tried:
    """A step of a ladder.

    Attributes:
        spreads: Of its prior.
        own: Weights of the text that it starts from, float `[M]`.
        left_out: Log-odds of each press without it, `[N]`.
    """

    spreads: Spreads
    own: Floats
    left_out: Floats


def _shared(parts: Parts, mean: Floats, truth: Bools, counted: Floats) -> tuple[Floats, Floats]:
    """Shares of `K` blocks, and the inner products of all that have them.

    A share grows with the likelihood of the left-out presses under its block alone (pseudo-BMA
    weights, Yao et al. 2018, Using stacking to average Bayesian predictive distributions).

    Returns:
        Shares `[K]`, and inner products `[1 + G, N, N]`: of all presses, and with the relevance
        without each group of presses in turn.
    """
    grams = [block.grams() for block in parts.blocks]
    shares = np.full(len(grams), 1 / max(1, len(grams)))
    # Sensors without statistics are few, and share alike: choosing among them gains no accuracy.
    if len(grams) > 1 and parts.groups.any():
        loss = np.array([_loss_alone(parts, each, mean, truth, counted) for each in grams])
        shares = np.exp(loss.min() - loss)
        shares /= shares.sum()
    total = np.zeros((parts.ways, len(truth), len(truth)))
    for share, gram in zip(shares, grams, strict=True):
        total += share * gram
    return shares, total


def _loss_alone(parts: Parts, grams: Floats, mean: Floats, truth: Bools, counted: Floats) -> float:
    """Left-out loss of all presses with a prior of one block."""
    without = _without(grams)
    kernels = ALONE_BIAS**2 + ALONE_BLOCK**2 * without
    means = np.tile(mean, (len(without), 1))
    found = modes(kernels, means, truth, counted, most_steps=ALONE_STEPS)
    left_out = _by_group(parts, found.left_out)
    return float(left_out_loss(left_out, truth, counted).sum())


def _without(grams: Floats) -> Floats:
    """Those without each group of presses; those of all presses where there are no others."""
    return grams[1:] if len(grams) > 1 else grams


def _by_group(parts: Parts, left_out: Floats) -> Floats:
    """Of each press, the value without its group, `[G, N]` or `[1, N]` to `[N]`."""
    group = np.minimum(np.maximum(parts.groups - 1, 0), len(left_out) - 1)
    return np.asarray(left_out[group, np.arange(len(group))])


def _tried(
    parts: Parts,
    grams: Floats,
    steps: list[tuple[Floats, Spreads]],
    odds: Floats,
    truth: Bools,
    counted: Floats,
) -> list[_Tried]:
    """All steps. Left-out presses do not count in the relevance either."""
    without = _without(grams)
    kernels = [_kernels(parts, spreads, without) for _, spreads in steps]
    means = np.repeat(np.stack([odds @ own for own, _ in steps]), len(without), axis=0)
    found = modes(np.concatenate(kernels), means, truth, counted)
    left_out = found.left_out.reshape(len(steps), len(without), len(truth))
    return [
        _Tried(spreads, own, _by_group(parts, each))
        for (own, spreads), each in zip(steps, left_out, strict=True)
    ]


def _kernels(parts: Parts, spreads: Spreads, grams: Floats) -> Floats:
    """Prior covariance of the log-odds of the presses, of the shape of `grams`."""
    found = spreads.bias**2 + spreads.weights**2 * parts.odds_gram + spreads.blocks**2 * grams
    return np.asarray(found, np.float64)


def _chosen(tried: list[_Tried], truth: Bools, counted: Floats) -> _Tried:
    """The smallest spreads whose left-out loss no larger ones improve on clearly."""
    usable = ~_alone(truth)
    best = tried[0]
    if not usable.any():  # one press a side: the smallest step
        return best
    loss = left_out_loss(best.left_out, truth, counted)[usable]
    for candidate in tried[1:]:
        other = left_out_loss(candidate.left_out, truth, counted)[usable]
        gain = loss - other
        # With few presses their own scatter is not known either.
        error = np.sqrt((gain.var() * len(gain) + DOUBT) / len(gain) ** 2)
        if gain.mean() > CAUTION * error:
            best, loss = candidate, other
    return best


def _alone(truth: Bools) -> Bools:
    """The presses that are the only ones of their side: without them nothing is taught."""
    yes, no = truth.sum() == 1, (~truth).sum() == 1
    return np.asarray(np.where(truth, yes, no), bool)


def _linear(
    parts: Parts,
    shares: Floats,
    tried: _Tried,
    dual: Floats,
    slope: float,
    offset: float,
    left_out: Floats,
    truth: Bools,
) -> Head:
    """The weights of the features as they come, with the calibration folded in."""
    sensors = parts.odds.shape[1]
    spreads, own = tried.spreads, tried.own
    moved = spreads.weights**2 / max(1, sensors) * (parts.odds.T @ dual) / parts.odds_scale
    total = parts.odds * (parts.odds_scale * (own + moved))
    shift = -moved * parts.odds_mean
    weights = {
        block.name: np.zeros((sensors, len(block.mean)), np.float32) for block in parts.blocks
    }
    for block, share in zip(parts.blocks, shares, strict=True):
        size = spreads.blocks**2 * share * block.relevance[0] ** 2
        along = size * (block.values.T @ dual)
        total[:, block.sensor] += block.values @ along
        along /= block.scale
        shift[block.sensor] -= along @ block.mean
        weights[block.name][block.sensor] = slope * along
    sizes = np.sqrt((total**2).mean(0))
    calibrated_out = slope * left_out + offset
    return Head(
        bias=slope * spreads.bias**2 * float(dual.sum()) + offset,
        slope=slope * (own + moved),
        shift=slope * shift,
        weights=weights,
        share=sizes / max(float(sizes.sum()), 1e-12),
        variance=spreads.variance,
        spreads=spreads,
        left_out=calibrated_out,
        estimate=estimate(calibrated_out, truth),
    )
