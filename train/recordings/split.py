"""Rows to runs: by the first row of each, along the first axis, or by the value of a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from train.recordings.mapping import Runs
from train.recordings.table import Array, RecordingError, Run


def split(whole: Run, runs: Runs) -> Iterator[Run]:
    """Yield the runs of what a reader yields.

    Raises:
        RecordingError: The arrays do not form such runs.
    """
    if runs.starts:
        yield from _ragged(whole, runs.starts)
    elif runs.first_axis:
        yield from _stacked(whole)
    elif runs.column:
        yield from _by_column(whole, runs.column)
    else:
        yield whole


def _ragged(whole: Run, key: str) -> Iterator[Run]:
    """Runs whose rows follow each other; arrays with one entry per run hold their values."""
    arrays = whole.columns
    starts = arrays.get(key)
    if starts is None or starts.ndim != 1 or starts.dtype.kind not in 'iu' or not len(starts):
        raise RecordingError(f'{whole.name}: {key!r} is no array of whole numbers [runs]')
    rows, last = max(map(len, arrays.values())), int(starts[-1])
    if starts[0] < 0 or (np.diff(starts.astype(np.int64)) < 0).any() or last > rows:
        raise RecordingError(f'{whole.name}: {key!r} must increase from 0 to at most {rows} rows')
    stops = starts[1:].tolist() + ([] if last == rows else [rows])
    columns = {name: array for name, array in arrays.items() if len(array) == rows}
    values = {n: a for n, a in arrays.items() if len(a) == len(stops) and n != key}
    for index, (start, stop) in enumerate(zip(starts.tolist(), stops, strict=False)):
        if stop > start:
            yield replace(
                whole,
                name=f'{whole.name}:{index}',
                columns={name: column[start:stop] for name, column in columns.items()},
                values={**whole.values, **{name: array[index] for name, array in values.items()}},
            )


def _stacked(whole: Run) -> Iterator[Run]:
    """Runs along the first axis; arrays `[runs]` hold their values."""
    sizes = {name: len(array) for name, array in whole.columns.items()}
    if len(set(sizes.values())) != 1:
        listed = ', '.join(f'{name} {size}' for name, size in sizes.items())
        raise RecordingError(f'{whole.name}: the first axes of its arrays differ: {listed}')
    for index in range(next(iter(sizes.values()))):
        columns: dict[str, Array] = {}
        values = dict(whole.values)
        for name, array in whole.columns.items():
            if array.ndim > 1:
                columns[name] = array[index]
            else:
                values[name] = array[index]
        yield replace(whole, name=f'{whole.name}:{index}', columns=columns, values=values)


def _by_column(whole: Run, key: str) -> Iterator[Run]:
    """Runs of rows in succession that have the same value in a column."""
    columns: Mapping[str, Array] = whole.columns
    if key not in columns:
        raise RecordingError(f'{whole.name}: no column {key!r}; there are {", ".join(columns)}')
    keys = columns[key]
    marks = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(keys)]
    for number, (start, stop) in enumerate(pairwise(marks)):
        if stop > start:
            yield replace(
                whole,
                name=f'{whole.name}:{number}',
                columns={n: c[start:stop] for n, c in columns.items() if len(c) == len(keys)},
                values={**whole.values, key: keys[start]},
            )
