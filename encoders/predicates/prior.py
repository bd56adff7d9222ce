"""What the prior of a taught predicate weighs: the features of its presses, block by block.

A vector of an encoder is compared as a whole. Statistics of a window are hundreds of numbers, of
which a few matter for a predicate: a screw that is tight shows in the spread of one torque. So
each counts by how clearly it differs between both sides of the presses. The t-statistic is
moderated as in Smyth 2004 (Linear models and empirical Bayes methods), because ten presses do not
show the spread of hundreds of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.one_core import on_one_core

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STATISTICS = 'statistics'
MIN_SCALE = 0.05  # of the log-odds of a sensor and of a statistic, so that noise is not magnified
TINY = 1e-6
PRIOR_COUNT = 5.0  # presses that the spread over all of them counts as, in the spread of a side
MIN_RELEVANCE = 1e-3  # of t squared
# Left-out presses have no part in the relevance either: among hundreds of numbers, some separate
# any presses by chance. Presses are left out in groups, many presses in fewer to bound the time.
MAX_GROUPS, MIN_GROUPS, GROUPED = 6, 2, 200


@dataclass(frozen=True, slots=True)
class Block:
    """One feature of one sensor, over `N` presses.

    Attributes:
        name: Name of the feature.
        sensor: Index of the sensor.
        values: Centred and scaled, float `[N, D]`, 0 where the sensor is silent.
        mean, scale: float `[D]`: the feature is `mean + scale * values`.
        relevance: Weight of each number, float `[1 + G, D]`: by all presses, and without each
            group of presses in turn; `[1, D]` where presses do not matter. The mean square of
            `values * relevance` over presses with evidence is 1.
    """

    name: str
    sensor: int
    values: Floats
    mean: Floats
    scale: Floats
    relevance: Floats

    def grams(self) -> Floats:
        """Inner products of the weighed values, `[1 + G, N, N]` or `[1, N, N]`."""
        return np.stack([products(self.values * weights) for weights in self.relevance])


@dataclass(frozen=True, slots=True)
class Parts:
    """Centred and scaled features of `N` presses of `M` sensors.

    Attributes:
        odds: Text log-odds, float `[N, M]`, 0 where missing.
        odds_mean, odds_scale: float `[M]`.
        odds_gram: Inner products of `odds`, mean over sensors, `[N, N]`.
        blocks: Further features of the sensors that any press has.
        groups: Group of each press, int `[N]`, from 1; all 0 without statistics.
    """

    odds: Floats
    odds_mean: Floats
    odds_scale: Floats
    odds_gram: Floats
    blocks: tuple[Block, ...]
    groups: NDArray[np.int64]

    @property
    def ways(self) -> int:
        """1 + number of groups."""
        return 1 + int(self.groups.max(initial=0))


def parts_of(log_odds: NDArray[Any], blocks: Mapping[str, NDArray[Any]], truth: Bools) -> Parts:
    """Centre, scale and weigh the features of presses.

    Args:
        log_odds: float `[N, M]`, NaN where a sensor is silent.
        blocks: By name, float `[N, M, D]`, NaN likewise.
        truth: bool `[N]`.
    """
    there = ~np.isnan(log_odds)
    odds = np.where(there, log_odds, 0.0).astype(np.float64)
    odds_mean = _middle(odds, there, truth)
    odds = np.where(there, odds - odds_mean, 0.0)
    odds_scale = np.maximum(_size(odds**2, there), MIN_SCALE)
    odds /= odds_scale
    gram = products(odds) / max(1, odds.shape[1])
    groups = groups_of(truth) if STATISTICS in blocks else np.zeros(len(truth), np.int64)
    found = [
        _block(name, sensor, values[:, sensor].astype(np.float64), truth, groups)
        for name, values in blocks.items()
        for sensor in np.flatnonzero(~np.isnan(values[:, :, 0]).all(axis=0)).tolist()
    ]
    return Parts(odds, odds_mean, odds_scale, gram, tuple(found), groups)


def groups_of(truth: Bools) -> NDArray[np.int64]:
    """Groups of presses that are left out together, from 1, with both sides in each; else 0."""
    groups = np.zeros(len(truth), np.int64)
    least = int(min(truth.sum(), (~truth).sum()))
    if least < 2:
        return groups
    count = min(least, MAX_GROUPS, max(MIN_GROUPS, GROUPED // len(truth)))
    for side in (truth, ~truth):
        groups[side] = 1 + np.arange(int(side.sum())) % count
    return groups


def _block(
    name: str, sensor: int, values: Floats, truth: Bools, groups: NDArray[np.int64]
) -> Block:
    known = ~np.isnan(values[:, :1])
    filled = np.where(known, values, 0.0)
    mean = _middle(filled, known, truth)
    centred = np.where(known, filled - mean, 0.0)
    scale = np.ones(len(mean))
    if name == STATISTICS:
        scale = np.maximum(_size(centred**2, known), MIN_SCALE)
    scaled = centred / scale
    relevance = np.ones((1, len(mean)))
    if name == STATISTICS:
        heard = known[:, 0]
        kept = [heard & (groups != group) for group in range(1, 1 + groups.max(initial=0))]
        relevance = np.stack([relevance_of(scaled, truth, rows) for rows in (heard, *kept)])
    square = _size(scaled**2, known) ** 2
    relevance /= np.maximum(np.sqrt((relevance**2 * square).sum(1, keepdims=True)), TINY)
    return Block(name, sensor, scaled, mean, scale, relevance)


def relevance_of(scaled: Floats, truth: Bools, known: Bools) -> Floats:
    """Weight of each number, float `[D]`: its squared moderated t-statistic between both sides.

    Equal weights with fewer than two presses of a side.

    Args:
        scaled: float `[N, D]`, of unit spread over all presses.
        truth: bool `[N]`.
        known: The presses that count, bool `[N]`.
    """
    yes, no = scaled[known & truth], scaled[known & ~truth]
    if min(len(yes), len(no)) < 2:
        return np.ones(scaled.shape[1])
    squares = ((yes - yes.mean(0)) ** 2).sum(0) + ((no - no.mean(0)) ** 2).sum(0)
    variance = (squares + PRIOR_COUNT) / (len(yes) + len(no) - 2 + PRIOR_COUNT)
    apart = (yes.mean(0) - no.mean(0)) ** 2 / (variance * (1 / len(yes) + 1 / len(no)))
    return np.asarray(np.maximum(apart, MIN_RELEVANCE))


def products(rows: NDArray[np.floating[Any]]) -> Floats:
    """Inner products of rows, `[N, D]` to `[N, N]`."""
    held = torch.from_numpy(rows)
    with on_one_core():
        return np.asarray((held @ held.T).numpy(), np.float64)


def _middle(values: Floats, known: Bools, truth: Bools) -> Floats:
    """The mean of both sides' means, `[N, D]` to `[D]`, where `known`, `[N, D]` or `[N, 1]`.

    A sensor that only one side has is centred on that side, so that it separates no sides.
    """
    sides = [known & side[:, None] for side in (truth, ~truth)]
    means = [(values * used).sum(0) / np.maximum(used.sum(0), 1) for used in sides]
    seen = [used.any(0) for used in sides]
    one = np.where(seen[0], means[0], means[1])
    return np.asarray(np.where(seen[0] & seen[1], (means[0] + means[1]) / 2, one), np.float64)


def _size(squares: Floats, known: Bools) -> Floats:
    """Root mean of squares, `[N, D]` to `[D]`, where `known`, `[N, D]` or `[N, 1]`."""
    return np.asarray(np.sqrt((squares * known).sum(0) / np.maximum(known.sum(0), 1)))
