"""Channels of a bag's series over time, reduced to what a line of a page can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import Floats
from encoders.preprocess import is_series
from train.score.channels import Group, NewSamples, drawn_groups
from train.score.embed import BagSource
from train.score.windows import Window

BINS = 800  # of a bag; each keeps the lowest and the highest value
DIGITS = 4
GAP_S = 0.5  # lines are broken where nothing was measured for longer


@dataclass(frozen=True, slots=True)
class ChannelLines:
    """The channels of one quantity over time.

    Attributes:
        modality: Modality of the series.
        title: The quantity with its unit.
        window_s: Length of the windows that the encoder takes.
        labels: Names of the channels.
        t: Times, seconds since the start of the bag.
        v: By channel, a value for each time; None where nothing was measured.
    """

    modality: str
    title: str
    window_s: float
    labels: tuple[str, ...]
    t: list[float]
    v: list[list[float | None]]


@dataclass
class _Series:
    channels: tuple[str, ...]
    window_s: float
    low: Floats
    high: Floats
    new: NewSamples = field(default_factory=NewSamples)


class ChannelRecorder:
    """Collects the series of one bag in memory that does not depend on its length or rates.

    Args:
        source: The bag.
        start_ns: Start of the bag.
        duration_s: Its length.
    """

    def __init__(self, source: BagSource, *, start_ns: int, duration_s: float) -> None:
        self._configs = source.configs
        self._start_ns, self._step_ns = start_ns, max(duration_s * 1e9 / BINS, 1.0)
        self._found: dict[str, _Series] = {}

    def add(self, window: Window) -> None:
        """Add the samples of a window of a series that earlier ones did not have."""
        if window.modality not in self._found:
            channels: Sequence[str] = window.source.channels
            config = self._configs.get(window.modality)
            length_s = config.window_s if config is not None and is_series(config) else 0.0
            shape = (BINS, len(channels))
            low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
            self._found[window.modality] = _Series(tuple(channels), length_s, low, high)
        series = self._found[window.modality]
        stamps, values = series.new.of(window)
        bins = ((stamps - self._start_ns) // self._step_ns).astype(np.int64).clip(0, BINS - 1)
        measured = np.isfinite(values)
        np.minimum.at(series.low, bins, np.where(measured, values, np.inf))
        np.maximum.at(series.high, bins, np.where(measured, values, -np.inf))

    def lines(self) -> list[ChannelLines]:
        """The channels that are worth drawing, by modality and quantity."""
        return [
            self._lines(name, series, group)
            for name, series in self._found.items()
            for group in drawn_groups(series.channels)
        ]

    def _lines(self, modality: str, series: _Series, group: Group) -> ChannelLines:
        columns = list(group.columns)
        both = np.stack([series.low[:, columns], series.high[:, columns]], axis=1)
        bins = np.flatnonzero(np.isfinite(both).any(axis=(1, 2)))
        step_s = self._step_ns * 1e-9
        times = ((bins[:, None] + np.array([0.25, 0.75])) * step_s).ravel()
        values = both[bins].reshape(-1, len(columns))
        after = 2 * np.flatnonzero(np.diff(bins) * step_s > max(GAP_S, 2 * step_s)) + 2
        times = np.insert(times, after, times[after - 1] + step_s)
        values = np.insert(values, after, np.nan, axis=0)
        return ChannelLines(
            modality,
            group.title,
            series.window_s,
            group.labels,
            [round(time_s, 3) for time_s in times.tolist()],
            [_rounded(column) for column in values.T],
        )


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f'{value:.{DIGITS}g}') if np.isfinite(value) else None for value in values]
