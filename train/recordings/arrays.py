"""NumPy archives (`.npz`) and arrays (`.npy`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from train.recordings.mapping import Runs
from train.recordings.table import Array, RecordingError, Run


def read(path: Path, runs: Runs) -> Iterator[Run]:
    """Yield the arrays of a file as one run; a `.npy` array has the name of its file.

    Raises:
        RecordingError: The file cannot be read.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays: dict[str, Array] = {path.stem: loaded}
        else:
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        hint = '; save arrays without objects' if 'pickle' in str(error) else ''
        raise RecordingError(f'{path}: {error}{hint}') from error
    values = {name: array[()] for name, array in arrays.items() if not array.ndim}
    yield Run(path.stem, {n: a for n, a in arrays.items() if a.ndim}, values)
