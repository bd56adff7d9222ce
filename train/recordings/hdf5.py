"""HDF5 files: every data set is a column, attributes are values of a run."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from train.recordings.mapping import Runs
from train.recordings.table import Array, RecordingError, Run


def read(path: Path, runs: Runs) -> Iterator[Run]:
    """Yield the file, or every group that `runs.groups` matches, as a run.

    Columns are named by their path within the run, such as `obs/wrench`.

    Raises:
        RecordingError: h5py is not installed, or the file cannot be read.
    """
    try:
        import h5py
    except ImportError as error:
        raise RecordingError(
            f'{path}: HDF5 needs h5py, which is not installed: pip install "lb_ros[hdf5]"'
        ) from error
    try:
        with h5py.File(path, 'r') as file:
            found: dict[str, Any] = {'': file}
            if runs.groups:
                found = {}
                file.visititems(
                    lambda name, node: (
                        found.__setitem__(name, node)
                        if isinstance(node, h5py.Group) and _matches(name, runs.groups)
                        else None
                    )
                )
            if not found:
                raise RecordingError(f'{path}: no group matches {runs.groups!r}')
            for name in sorted(found, key=_natural):
                columns, values = _content(found[name], h5py)
                label = f'{path.stem}:{name}' if name else path.stem
                yield Run(label, columns, {'group': name, **values})
    except OSError as error:
        raise RecordingError(f'{path}: {error}') from error


def _matches(name: str, pattern: str) -> bool:
    """Whether a path matches; `*` stands for text without a slash."""
    parts, wanted = name.split('/'), pattern.strip('/').split('/')
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _content(group: Any, h5py: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Columns and values of a group; attributes of groups within it carry their path."""
    columns: dict[str, Array] = {}
    values = {name: _decoded(value) for name, value in group.attrs.items()}

    def take(name: str, node: Any) -> None:
        values.update({f'{name}/{key}': _decoded(value) for key, value in node.attrs.items()})
        if isinstance(node, h5py.Dataset):
            if node.shape == ():
                values[name] = _decoded(node[()])
            elif h5py.check_string_dtype(node.dtype):
                columns[name] = np.asarray(node.asstr()[...])
            elif node.dtype.kind in 'biuf':
                columns[name] = np.asarray(node[...])

    group.visititems(take)
    return columns, values


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _natural(name: str) -> tuple[Any, ...]:
    """`demo_10` after `demo_9`."""
    head = name.rstrip('0123456789')
    return head, int(name[len(head) :] or -1)
