"""Series of any rate and order on a fixed grid of times, with gaps and dead channels masked."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import Floats, Series

# Between two samples of a channel, the grid is interpolated up to this many of its usual
# intervals, within these limits; a longer distance is a gap.
GAP_INTERVALS = 2.5
MIN_GAP_S, MAX_GAP_S = 0.05, 0.25
# A channel with fewer samples is not judged constant.
FEW = 3
# Larger values are no measurement; their squares would overflow.
LIMIT = 1e12
# Encoders are quantised: a joint at rest has exactly one position.
MAY_REST = 'position'


@dataclass(frozen=True, slots=True)
class Grid:
    """A window on a fixed grid that ends with the newest stamp of a series.

    Attributes:
        values: float64 `[N, C]`, NaN where masked.
        baseline: float64 `[C]`, NaN where unknown.
        masked: Channel without any value to the reason.
        rate_hz: Usual rate of the samples; 0 if there is only one.
    """

    values: Floats
    baseline: Floats
    masked: Mapping[str, str]
    rate_hz: float

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which values are measured or interpolated, `[N, C]`."""
        return np.isfinite(self.values)


def to_grid(
    series: Series,
    channels: Sequence[str],
    *,
    rate_hz: float,
    steps: int,
    resting: Container[str] = (),
) -> Grid:
    """Resample some channels: means of the samples around each time, else interpolation.

    A channel that is not measured, or exactly constant over the window as a dead channel is, is
    masked, except that positions may be constant. Repeated stamps count as several samples at one
    time; stamps in any order give the same grid.

    Args:
        series: The series; samples before the window help at its start.
        channels: Names of the channels, in the order of the result.
        rate_hz: Rate of the grid.
        steps: Times of the grid.
        resting: Channels that may be exactly constant, besides positions.
    """
    before = round(MAX_GAP_S * rate_hz)
    usable = np.isfinite(series.stamps_s)
    stamps, values = series.stamps_s[usable], series.values[usable]
    age = stamps.max() - stamps
    near = age * rate_hz < steps + before - 0.5
    order = np.argsort(-age[near], kind='stable')
    age, values = age[near][order], _selected(series, values[near][order], channels)
    cells = before + steps - 1 - np.floor(age * rate_hz + 0.5 - 1e-6).astype(np.int64)
    gridded = _means(values, cells, before + steps)
    masked = {}
    for column, name in enumerate(channels):
        measured = np.isfinite(values[:, column])
        inside = measured & (cells >= before)
        reason = _dead(series, name, values[inside, column], may_rest=name in resting)
        if reason:
            masked[name] = reason
            gridded[:, column] = np.nan
        elif not np.isfinite(gridded[before:, column]).all():
            limit = _largest_gap(age[measured]) * rate_hz
            gridded[:, column] = _filled(gridded[:, column], limit)
    baseline = np.full(len(series.channels), np.nan)
    if series.baseline is not None:
        baseline = series.baseline
    known = _selected(series, baseline[None], channels)[0]
    return Grid(gridded[before:], known, masked, _rate(age))


def _selected(series: Series, rows: Floats, channels: Sequence[str]) -> Floats:
    """The columns of some channels, float64 `[T, C]`; NaN for those that a series lacks."""
    place = {name: column for column, name in enumerate(series.channels)}
    chosen = np.full((len(rows), len(channels)), np.nan)
    for column, name in enumerate(channels):
        if name in place:
            chosen[:, column] = rows[:, place[name]]
    chosen[~(np.abs(chosen) < LIMIT)] = np.nan
    return chosen


def _means(values: Floats, cells: NDArray[np.int64], count: int) -> Floats:
    """Means of the values in each cell, `[count, C]`; NaN in empty ones."""
    channels = values.shape[1]
    measured = np.isfinite(values)
    places = (cells[:, None] * channels + np.arange(channels))[measured]
    sums = np.bincount(places, values[measured], minlength=count * channels)
    counts = np.bincount(places, minlength=count * channels)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means.reshape(count, channels)


def _dead(series: Series, name: str, measured: Floats, *, may_rest: bool) -> str:
    """Why a channel is masked over the whole window; empty if it is not."""
    if name not in series.channels:
        return 'is not in the series'
    if not len(measured):
        return 'has no finite value'
    is_constant = len(measured) >= FEW and measured.min() == measured.max()
    if is_constant and not may_rest and name.rpartition('.')[2] != MAY_REST:
        return f'is constant at {measured[0] + 0.0:.4g}'
    return ''


def _intervals(age: Floats) -> Floats:
    steps = -np.diff(age)
    return np.asarray(steps[steps > 0])


def _largest_gap(age: Floats) -> float:
    """Largest distance of two samples of a channel over which to interpolate, seconds."""
    intervals = _intervals(age)
    usual = float(np.median(intervals)) if len(intervals) else 0.0
    return min(max(GAP_INTERVALS * usual, MIN_GAP_S), MAX_GAP_S)


def _rate(age: Floats) -> float:
    intervals = _intervals(age)
    return float(1 / np.median(intervals)) if len(intervals) else 0.0


def _filled(column: Floats, limit: float) -> Floats:
    """Interpolate up to `limit` steps between samples, and hold the last one as long."""
    known = np.flatnonzero(np.isfinite(column))
    if not len(known):
        return column
    steps = np.arange(len(column))
    after = np.searchsorted(known, steps)
    left = known[np.maximum(np.searchsorted(known, steps, side='right') - 1, 0)]
    right = known[np.minimum(after, len(known) - 1)]
    inside = (steps >= known[0]) & (steps <= known[-1]) & (right - left <= limit)
    held = (steps > known[-1]) & (steps - known[-1] <= limit)
    values = np.interp(steps, known, column[known])
    return np.where(inside | held, values, np.nan)
