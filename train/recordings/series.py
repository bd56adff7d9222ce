"""Labelled windows of a run, cut by the stream that live nodes use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.decode.series import Floats, Series, SeriesOptions
from encoders.decode.series_stream import SeriesStream
from train.recordings.mapping import UNITS_S, Label, Recordings, Sensor
from train.recordings.table import Array, RecordingError, Run, numbers


@dataclass(frozen=True, slots=True)
class Moment:
    """A labelled window of a run.

    Attributes:
        run: Name of the run.
        time_s: End of the window, seconds since the start of the run.
        series: What each sensor recorded until then, by modality.
        facts: Predicates with their truth; unknown ones are left out.
    """

    run: str
    time_s: float
    series: Mapping[str, Series]
    facts: Mapping[str, bool]


def moments(run: Run, recordings: Recordings, lengths_s: Mapping[str, float]) -> Iterator[Moment]:
    """Yield the labelled windows of a run: at its end, or every `recordings.every_s`.

    Args:
        run: The run.
        recordings: The mapping.
        lengths_s: Length of the windows of each requested modality of the mapping.

    Raises:
        RecordingError: A column is missing, or columns do not fit each other.
    """
    sensed = {name: _sensed(run, recordings.sensors[name]) for name in lengths_s}
    streams = {}
    for name, rows in sensed.items():
        sensor = recordings.sensors[name]
        stream = SeriesStream(
            name, SeriesOptions(channels=rows.channels), length_s=lengths_s[name]
        )
        stream.frame_id = sensor.frame_id
        if not sensor.tared_at_start:
            stream.tare([np.nan] * len(rows.channels))
        streams[name] = (stream, rows)
    end_s = max(float(rows.stamps_s[-1]) for rows in sensed.values())
    fed = dict.fromkeys(streams, 0)
    for at_s in _ends(end_s, recordings.every_s):
        found = {}
        for name, (stream, rows) in streams.items():
            until = int(np.searchsorted(rows.stamps_s, at_s + 1e-9, side='right'))
            for index in range(fed[name], until):
                stream.add_row(rows.values[index], stamp_ns=round(rows.stamps_s[index] * 1e9))
            fed[name] = max(until, fed[name])
            window = stream.until(round((at_s + 1e-9) * 1e9))
            if window is not None:
                found[name] = window.raw
        share = at_s / end_s if end_s > 0 else 1.0
        yield Moment(run.name, at_s, found, _facts(run, recordings.facts, share))


def _ends(end_s: float, every_s: float | None) -> list[float]:
    if every_s is None:
        return [end_s]
    count = int(end_s / every_s + 1e-9)
    return [every_s * (index + 1) for index in range(count)] or [end_s]


def _facts(run: Run, labels: Mapping[str, Label], share: float) -> dict[str, bool]:
    """What is true after a share of a run; a column is read at its row."""
    found = {}
    for name, label in labels.items():
        column = run.columns.get(label.column)
        if column is not None and label.column not in run.values and column.ndim == 1:
            value = column[min(len(column) - 1, round(share * (len(column) - 1)))]
        else:
            value = run.value(label.column)
        truth = label.truth(value)
        if truth is not None:
            found[name] = truth
    return found


@dataclass(frozen=True, slots=True)
class Sensed:
    """The channels of a run: values float64 `[T, C]`, and stamps `[T]` that do not decrease."""

    channels: tuple[str, ...]
    values: Floats
    stamps_s: Floats


def _sensed(run: Run, sensor: Sensor) -> Sensed:
    if sensor.snapshot:
        run = _single_row(run)
    channels = _channels(run, sensor)
    readings = max(len(columns) for columns in channels.values())
    rows = len(next(iter(channels.values()))[0])
    values = np.full((rows, readings, len(channels)), np.nan)
    for index, (name, columns) in enumerate(channels.items()):
        if len(columns) not in (1, readings):
            raise RecordingError(
                f'run {run.name}: channel {name} has {len(columns)} readings a row, others have '
                f'{readings}; narrow its pattern'
            )
        for column in columns:
            if len(column) != rows:
                raise RecordingError(
                    f'run {run.name}: channel {name} has {len(column)} rows, others have {rows}'
                )
        # A channel with one reading a row has it at the time of the row.
        values[:, -len(columns) :, index] = np.stack(columns, axis=1)
    stamps = _stamps(run, sensor, rows)
    if readings > 1:
        stamps = _between(stamps, readings, sensor)
    flat = values.reshape(rows * readings, len(channels))
    order = np.argsort(stamps, kind='stable')
    stamps = stamps[order] - stamps.min()
    if sensor.stretch_s is not None and stamps[-1] > 0:
        stamps = stamps * (sensor.stretch_s / stamps[-1])
    return Sensed(tuple(channels), flat[order], stamps)


def _single_row(run: Run) -> Run:
    values = {name: np.asarray(value) for name, value in run.values.items()}
    all_of_it = {**{n: v for n, v in values.items() if v.dtype.kind in 'biuf'}, **run.columns}
    columns = {name: array[None] for name, array in all_of_it.items()}
    return Run(run.name, columns, run.values, run.entries)


def _channels(run: Run, sensor: Sensor) -> dict[str, list[Floats]]:
    """The readings of each channel, a column for each reading within a row."""
    found: dict[str, list[Floats]] = {}
    for name, pattern in sensor.channels.items():
        matches = run.matching(pattern if pattern is not None else name)
        if not matches:
            names = run.flat_names()
            more = f' and {len(names) - 12} more' if len(names) > 12 else ''
            raise RecordingError(
                f'run {run.name}: no column matches {pattern or name!r}; there are '
                f'{", ".join(names[:12]) or "none"}{more}'
            )
        if pattern is None:
            for label, column in matches:
                found[label] = [numbers(column, f'run {run.name}: {label}')]
        else:
            found[name] = [
                numbers(column, f'run {run.name}: {label}') for label, column in matches
            ]
    return found


def _stamps(run: Run, sensor: Sensor, rows: int) -> Floats:
    """Seconds of each row."""
    if sensor.snapshot:
        return np.zeros(rows)
    if sensor.rate_hz is not None:
        return np.arange(rows) / sensor.rate_hz
    name = sensor.time or run.time
    column: Array | None = run.columns.get(name)
    if column is None or column.ndim != 1:
        raise RecordingError(
            f'run {run.name}: no times {name!r}; give the sensor `time`, a column, or `rate_hz`'
            if name
            else f'run {run.name}: no times; give the sensor `time`, a column, or `rate_hz`'
        )
    unit_s = UNITS_S[sensor.time_unit] if sensor.time else 1.0
    if column.dtype.kind in 'iu':  # whole nanoseconds lose digits as float seconds since 1970
        column = column - column.min()
    stamps = numbers(column, f'run {run.name}: {name}') * unit_s
    if len(stamps) != rows:
        raise RecordingError(f'run {run.name}: {len(stamps)} times for {rows} rows')
    if not np.isfinite(stamps).all():
        raise RecordingError(f'run {run.name}: {name} has times that are not finite')
    return stamps


def _between(stamps: Floats, readings: int, sensor: Sensor) -> NDArray[np.float64]:
    """Times of the readings within each row; the last one is at the time of the row."""
    steps = np.diff(stamps)
    usual = float(np.median(steps)) if len(steps) else 1.0 / (sensor.rate_hz or 1.0)
    back = np.arange(readings - 1, -1, -1) * (usual / readings)
    return np.asarray((stamps[:, None] - back).ravel())
