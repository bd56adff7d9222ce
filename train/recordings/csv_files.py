"""Tables as text: `.csv` and `.tsv`, with a header; separated by comma, semicolon or tab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from train.recordings.mapping import Runs
from train.recordings.table import Array, RecordingError, Run


def read(path: Path, runs: Runs) -> Iterator[Run]:
    """Yield the table as one run.

    Raises:
        RecordingError: The file cannot be read, or has no rows.
    """
    try:
        with path.open(encoding='utf-8-sig') as file:
            head = file.readline()
        sign = next((s for s in (';', '\t') if s in head and ',' not in head), ',')
        options = csv.ParseOptions(delimiter=sign)
        table = csv.read_csv(path, parse_options=options)
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise RecordingError(f'{path}: {" ".join(str(error).split())}') from error
    if not len(table):
        raise RecordingError(f'{path}: has no rows')
    columns = {name.strip().lstrip('\ufeff'): _array(table[name]) for name in table.column_names}
    yield Run(path.stem, columns)


def _array(column: pa.ChunkedArray) -> Array:
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp('ns')).cast(pa.int64()).to_numpy() * 1e-9)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    return np.asarray(column.to_numpy())
