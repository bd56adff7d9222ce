"""What is odd about a running series: its frame, its joints, its tare, and slow drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.series_stream import SeriesStream
from encoders.decode.window import Window
from encoders.preprocess.mini.series import BIASED_FLOORS, LEVEL, SeriesConfig
from lb_ros.engine.tare import moved_while_tared

Floats = NDArray[np.float64]
# Slower changes are drift: contact, and a turn of the wrist, change a force faster than this many
# floors per second. A level is the median of a second.
SLOW_FLOORS = 0.5
LEVEL_S = 1.0


class Drift:
    """Slow changes of forces and torques since the sensor was tared, without the fast ones."""

    def __init__(self) -> None:
        self._tared_ns: int | None = None
        self._level: Floats | None = None
        self._at_ns = 0
        self._drifted: Floats = np.zeros(0)

    def lines(self, window: Window, config: SeriesConfig, *, tared_ns: int | None) -> list[str]:
        """Return a line for each channel that has drifted too far; call it with every window.

        Args:
            window: Window of a series with the channels of the configuration.
            config: Channels, and changes that matter.
            tared_ns: Stamp at which the sensor was tared.
        """
        since_s = (window.stamp_ns - self._at_ns) * 1e-9
        is_new = tared_ns != self._tared_ns or len(self._drifted) != len(config.channels)
        if is_new or since_s < 0:
            self._tared_ns, self._level = tared_ns, None
            self._drifted = np.zeros(len(config.channels))
        if self._level is None or since_s >= LEVEL_S:
            level = _level(window.raw)
            if self._level is not None:
                change = level - self._level
                is_slow = np.abs(change) <= SLOW_FLOORS * np.array(config.floor) * since_s
                self._drifted = self._drifted + np.where(is_slow, change, 0.0)
            self._level, self._at_ns = level, window.stamp_ns
        drifts = zip(config.channels, self._drifted, config.floor, strict=True)
        return [
            f'{name} has drifted by {drifted:.3g} since it was tared'
            for name, drifted, floor in drifts
            if name.partition('.')[0] in LEVEL and abs(drifted) > BIASED_FLOORS * floor
        ]


def _level(raw: Any) -> Floats:
    """Medians of the last `LEVEL_S` of a series, `[C]`; NaN of channels with gaps."""
    newest = raw.values[raw.stamps_s > raw.stamps_s.max() - LEVEL_S]
    return np.asarray(np.median(newest, axis=0))


def series_remarks(
    stream: SeriesStream, drift: Drift, config: SeriesConfig, window: Window
) -> dict[str, list[str]]:
    """Return what a running stream shows in addition to its window: lines by kind of fault.

    Args:
        stream: Stream of the sensor.
        drift: Drift of the sensor; it is brought up to date.
        config: Channels, and changes that matter.
        window: Newest window of the stream.
    """
    found: dict[str, list[str]] = {}
    expected, frame_id = stream.options.frame_id, window.raw.frame_id
    if expected and frame_id != expected:
        found['frame'] = [f'its frame is {frame_id!r}, expected {expected!r}']
    joints = stream.joints()
    if missing := [name for name, is_there in joints.items() if not is_there]:
        there = ', '.join(name for name, is_there in joints.items() if is_there) or 'none'
        found['joints'] = [f'no joint {", ".join(missing)}, only {there}: set joints_names']
    if moved := moved_while_tared(stream, config):
        found['untared'] = [*(f'{line} while it was tared' for line in moved), 'tare it at rest']
    elif drifted := drift.lines(window, config, tared_ns=stream.tared_ns):
        found['drift'] = [*drifted, 'tare it while nothing acts on it']
    return found
