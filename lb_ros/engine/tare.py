"""Taring a series: what its sensor measures while nothing acts on it."""

from __future__ import annotations

import math

from encoders.decode.series_stream import SeriesStream
from encoders.decode.streams import Stream
from encoders.preprocess import Config, is_series
from encoders.preprocess.mini.series import moving


def tare(stream: Stream, config: Config) -> str:
    """Take what a series measured last as the values while nothing acts on its sensor.

    Returns:
        What was measured, in one line.

    Raises:
        ValueError: The sensor moves, has sent too few messages, or is not a series.
    """
    if not isinstance(stream, SeriesStream) or not is_series(config):
        raise ValueError('only a series can be tared')
    found = stream.recent()
    lines = moving(found.moved, config)
    if lines:
        raise ValueError(f'the sensor moves: {"; ".join(lines)}: tare it at rest')
    stream.tare(found.values)
    return ', '.join(
        f'{name} {value:.3g}'
        for name, value in zip(config.channels, found.values, strict=True)
        if math.isfinite(value)
    )


def tared_ns(stream: Stream, config: Config) -> int | None:
    """Return the stamp at which a series was tared; None if it was not, or while it moved."""
    if not isinstance(stream, SeriesStream) or moved_while_tared(stream, config):
        return None
    return stream.tared_ns


def moved_while_tared(stream: SeriesStream, config: Config) -> list[str]:
    """Return a line for each channel whose baseline is none, because the sensor moved."""
    if stream.moved is None or not is_series(config):
        return []
    return moving(stream.moved, config)
