"""LeRobot data sets of versions 2.0, 2.1 and 3.0: Parquet files and their metadata.

An episode is a run. Images and videos are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from train.recordings.mapping import Runs
from train.recordings.table import Array, RecordingError, Run

VERSIONS = ('v2.0', 'v2.1', 'v3.0')
PICTURES = ('image', 'video')
TIME, EPISODE, TASK = 'timestamp', 'episode_index', 'task'


@dataclass(frozen=True, slots=True)
class _Episode:
    """Where an episode is stored."""

    index: int
    path: Path
    task: str


def read(path: Path, runs: Runs) -> Iterator[Run]:
    """Yield the episodes of a data set, given by its folder.

    Values of a run are `episode_index`, `task` and the version's other values of an episode.
    `runs` has no effect.

    Raises:
        RecordingError: Metadata or data are missing or damaged.
    """
    info = _info(path)
    features = _features(info)
    entries = {name: _names(feature) for name, feature in features.items()}
    episodes = _episodes_3(path, info) if _is_3(info) else _episodes_2(path, info)
    for episode in episodes:
        if not episode.path.is_file():
            raise RecordingError(f'{episode.path}: missing, but {path}/meta names it')
        columns = _columns(str(episode.path), tuple(features))
        rows = columns[EPISODE] == episode.index if EPISODE in columns else slice(None)
        yield Run(
            f'{path.name}:{episode.index}',
            {name: column[rows] for name, column in columns.items()},
            {EPISODE: episode.index, TASK: episode.task},
            entries,
            TIME,
        )


def _info(path: Path) -> Mapping[str, Any]:
    file = path / 'meta' / 'info.json'
    try:
        info: Mapping[str, Any] = json.loads(file.read_text())
        version = info['codebase_version']
        info['features'], info['fps'], info['data_path']
    except (OSError, ValueError) as error:
        raise RecordingError(f'{file}: {error}') from error
    except KeyError as error:
        raise RecordingError(f'{file}: no key {error.args[0]!r}') from error
    if version not in VERSIONS:
        raise RecordingError(
            f'{file}: version {version} is not supported, only {", ".join(VERSIONS)}; '
            f"convert it with LeRobot's own scripts"
        )
    return info


def _is_3(info: Mapping[str, Any]) -> bool:
    return str(info['codebase_version']).startswith('v3')


def _features(info: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """All features but images and videos, and the counters that every version has."""
    usual: dict[str, Mapping[str, Any]] = {TIME: {}, EPISODE: {}, 'frame_index': {}}
    found = {n: f for n, f in info['features'].items() if f.get('dtype') not in PICTURES}
    return usual | found


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the entries: a list, or a mapping of one axis to a list."""
    names = feature.get('names')
    if isinstance(names, Mapping):
        names = next(iter(names.values()), None)
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _episodes_2(path: Path, info: Mapping[str, Any]) -> Iterator[_Episode]:
    chunks = int(info.get('chunks_size', 1000))
    for line in _lines(path / 'meta' / 'episodes.jsonl'):
        index = int(line['episode_index'])
        name = info['data_path'].format(episode_chunk=index // chunks, episode_index=index)
        tasks = line.get('tasks') or ['']
        yield _Episode(index, path / name, str(tasks[0]))


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise RecordingError(f'{path}: {error}') from error


def _episodes_3(path: Path, info: Mapping[str, Any]) -> Iterator[_Episode]:
    files = sorted((path / 'meta' / 'episodes').glob('chunk-*/file-*.parquet'))
    if not files:
        raise RecordingError(f'{path}/meta/episodes: no file, expected chunk-000/file-000.parquet')
    wanted = [EPISODE, 'tasks', 'data/chunk_index', 'data/file_index']
    for file in files:
        for row in _table(file, wanted).to_pylist():
            place = {'chunk_index': row[wanted[2]], 'file_index': row[wanted[3]]}
            tasks = row['tasks'] or ['']
            yield _Episode(
                int(row[EPISODE]), path / info['data_path'].format(**place), str(tasks[0])
            )


@lru_cache(maxsize=2)
def _columns(path: str, wanted: tuple[str, ...]) -> dict[str, Array]:
    """The columns of a file; files of version 3 hold several episodes."""
    table = _table(Path(path), None)
    return {name: _array(table[name]) for name in wanted if name in table.column_names}


def _table(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise RecordingError(f'{path}: {" ".join(str(error).split())}') from error


def _array(column: pa.ChunkedArray) -> Array:
    """Scalars `[T]`, vectors `[T, N]`, and nested lists."""
    combined = column.combine_chunks()
    if isinstance(combined, pa.ExtensionArray):
        combined = combined.storage
    if pa.types.is_nested(combined.type):
        return np.array(combined.to_pylist())
    return np.asarray(combined.to_numpy(zero_copy_only=False))
