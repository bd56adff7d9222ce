"""Datasets in LeRobot's format 3.0, written without LeRobot: images and numbers in Parquet.

The layout is that of lerobot 0.4 to 0.6 (`codebase_version` v3.0), with one file per episode.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders.atomic import write_atomically

VERSION = 'v3.0'
CHUNK_FILES = 1000
FILE_MB, VIDEO_MB = 100, 200  # LeRobot's split sizes, as metadata; each episode is one file
DATA = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
EPISODES = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
ROWS_AT_ONCE = 32
QUANTILES = {'q01': 0.01, 'q10': 0.1, 'q50': 0.5, 'q90': 0.9, 'q99': 0.99}
SAMPLED_FRAMES, SAMPLED_SIDE = 50, 100  # limits of images in statistics

Stats = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column, as described in `meta/info.json`.

    Attributes:
        dtype: NumPy's name, or `image`.
        shape: Shape of the value of one frame.
        names: Names of its axes or of its entries.
        info: Further information for readers.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    info: Mapping[str, object] | None = None

    def described(self) -> dict[str, object]:
        """JSON-compatible description."""
        names = None if self.names is None else list(self.names)
        told: dict[str, object] = {'dtype': self.dtype, 'shape': list(self.shape), 'names': names}
        return told if self.info is None else told | {'info': dict(self.info)}

    @property
    def arrow(self) -> pa.DataType:
        """Type of the column in Parquet."""
        if self.dtype == 'image':
            return pa.struct([('bytes', pa.binary()), ('path', pa.string())])
        scalar = pa.from_numpy_dtype(np.dtype(self.dtype))
        return scalar if self.shape == (1,) else pa.list_(scalar, self.shape[0])


COUNTED = {
    'timestamp': Feature('float32', (1,)),
    'frame_index': Feature('int64', (1,)),
    'episode_index': Feature('int64', (1,)),
    'index': Feature('int64', (1,)),
    'task_index': Feature('int64', (1,)),
}


class LerobotWriter:
    """A dataset that appears at `root` when finished; until then it is a hidden folder next to it.

    Args:
        root: Folder that must not exist yet.
        fps: Frames per second of all episodes.

    Raises:
        FileExistsError: `root` exists.
    """

    def __init__(self, root: Path, *, fps: int) -> None:
        if root.exists():
            raise FileExistsError(f'{root}: exists; a LeRobot data set is made anew, not added to')
        self.root, self.fps = root, fps
        self.features: dict[str, Feature] = {}
        self._work = root.with_name(f'.{root.name}.unfinished')
        shutil.rmtree(self._work, ignore_errors=True)
        (self._work / 'meta').mkdir(parents=True)
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self._tasks: list[str] = []
        self._frames = 0

    def add_episode(
        self,
        features: Mapping[str, Feature],
        frames: Iterator[Mapping[str, Any]],
        *,
        count: int,
        task: str,
    ) -> None:
        """Write an episode.

        Args:
            features: Features of its frames; the same in all episodes.
            frames: Values by feature, images as encoded bytes.
            count: Number of frames.
            task: Description of the task.

        Raises:
            ValueError: The features differ from those of the first episode.
        """
        _check_same(self.features or features, features)
        self.features = dict(features)
        if task not in self._tasks:
            self._tasks.append(task)
        index = len(self._episodes)
        place = {'chunk_index': index // CHUNK_FILES, 'file_index': index % CHUNK_FILES}
        path = self._work / DATA.format(**place)
        seen = self._write_frames(path, frames, count=count, task=self._tasks.index(task))
        self._episodes.append(
            {
                'episode_index': index,
                'tasks': [task],
                'length': count,
                'data/chunk_index': place['chunk_index'],
                'data/file_index': place['file_index'],
                'dataset_from_index': self._frames,
                'dataset_to_index': self._frames + count,
                'meta/episodes/chunk_index': 0,
                'meta/episodes/file_index': 0,
            }
        )
        self._stats.append({name: _statistics(values) for name, values in seen.items() if values})
        self._frames += count

    def _write_frames(
        self, path: Path, frames: Iterator[Mapping[str, Any]], *, count: int, task: int
    ) -> dict[str, list[Any]]:
        """Write the frames of the next episode; return the values for statistics, by feature."""
        path.parent.mkdir(parents=True, exist_ok=True)
        step = max(1, count // SAMPLED_FRAMES)
        seen: dict[str, list[Any]] = {name: [] for name in self._all_features()}
        schema = pa.schema([(name, f.arrow) for name, f in self._all_features().items()])
        with pq.ParquetWriter(path, schema, compression='zstd') as writer:
            rows: list[dict[str, Any]] = []
            for number, frame in enumerate(frames):
                row = dict(frame) | self._counters(number, len(self._episodes), task)
                for name, feature in self._all_features().items():
                    if feature.dtype != 'image':
                        seen[name].append(row[name])
                    elif number % step == 0:
                        seen[name].append(_pixels(row[name]))
                rows.append(row)
                if len(rows) == ROWS_AT_ONCE or number == count - 1:
                    writer.write_table(self._table(rows, schema))
                    rows = []
        return seen

    def finish(self) -> None:
        """Write the metadata of the dataset and move it to its final folder.

        Raises:
            ValueError: There is no episode.
        """
        if not self._episodes:
            shutil.rmtree(self._work)
            raise ValueError(f'{self.root}: no bag gave an episode')
        meta = self._work / 'meta'
        (self._work / EPISODES.format(chunk_index=0, file_index=0)).parent.mkdir(parents=True)
        told = [
            episode
            | {f'stats/{f}/{k}': v.tolist() for f, kept in stats.items() for k, v in kept.items()}
            for episode, stats in zip(self._episodes, self._stats, strict=True)
        ]
        pq.write_table(
            pa.Table.from_pylist(told),
            self._work / EPISODES.format(chunk_index=0, file_index=0),
        )
        pq.write_table(_task_table(self._tasks), meta / 'tasks.parquet')
        together = {name: _together([s[name] for s in self._stats]) for name in self._stats[0]}
        plain = {name: {k: v.tolist() for k, v in s.items()} for name, s in together.items()}
        write_atomically(meta / 'stats.json', json.dumps(plain, indent=2).encode())
        write_atomically(meta / 'info.json', json.dumps(self._info(), indent=2).encode())
        self._work.rename(self.root)

    def _all_features(self) -> dict[str, Feature]:
        return self.features | COUNTED

    def _counters(self, number: int, episode: int, task: int) -> dict[str, Any]:
        return {
            'timestamp': number / self.fps,
            'frame_index': number,
            'episode_index': episode,
            'index': self._frames + number,
            'task_index': task,
        }

    def _table(self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
        columns = {}
        for name, feature in self._all_features().items():
            values = [row[name] for row in rows]
            if feature.dtype == 'image':
                columns[name] = [{'bytes': value, 'path': None} for value in values]
            elif feature.shape == (1,):
                columns[name] = [np.asarray(v).reshape(()).item() for v in values]
            else:
                columns[name] = [np.asarray(v).tolist() for v in values]
        return pa.table(columns, schema=schema)

    def _info(self) -> dict[str, object]:
        return {
            'codebase_version': VERSION,
            'robot_type': None,
            'total_episodes': len(self._episodes),
            'total_frames': self._frames,
            'total_tasks': len(self._tasks),
            'chunks_size': CHUNK_FILES,
            'data_files_size_in_mb': FILE_MB,
            'video_files_size_in_mb': VIDEO_MB,
            'fps': self.fps,
            'splits': {'train': f'0:{len(self._episodes)}'},
            'data_path': DATA,
            'video_path': None,
            'features': {name: f.described() for name, f in self._all_features().items()},
        }


def _check_same(known: Mapping[str, Feature], new: Mapping[str, Feature]) -> None:
    for name in sorted({*known, *new}):
        if known.get(name) != new.get(name):
            told = [
                'none' if f is None else f'{f.dtype} {list(f.shape)}'
                for f in (known.get(name), new.get(name))
            ]
            raise ValueError(f'{name} is {told[1]}, but {told[0]} in the first episode')


def decoded(picture: bytes) -> NDArray[Any]:
    """Decode an image to its pixels, `[H, W]` or BGR `[H, W, 3]`.

    Raises:
        ValueError: OpenCV cannot read it.
    """
    read = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None:
        raise ValueError('a picture that cannot be decoded')
    pixels: NDArray[Any] = read
    return pixels


def _pixels(picture: bytes) -> NDArray[np.float64]:
    """A subset of pixels `[N, C]`: RGB from 0 to 1, other images in their own unit."""
    read = decoded(picture)
    step = max(1, max(read.shape[:2]) // SAMPLED_SIDE)
    some = read[::step, ::step]
    some = some[..., ::-1] if some.ndim == 3 else some[..., None]
    scale = 255.0 if read.dtype == np.uint8 else 1.0
    return some.reshape(-1, some.shape[-1]).astype(np.float64) / scale


def _statistics(values: Sequence[Any]) -> Stats:
    """Statistics of every entry over all frames; of an image per channel, `[C, 1, 1]`."""
    pictures = isinstance(values[0], np.ndarray) and values[0].ndim == 2
    rows = np.concatenate(values) if pictures else np.stack([np.atleast_1d(v) for v in values])
    rows = rows.astype(np.float64)
    # What was never measured has statistics of zeros, because NaN would spread when it is scaled.
    rows[:, np.isnan(rows).all(axis=0)] = 0.0
    found = {
        'min': np.nanmin(rows, axis=0),
        'max': np.nanmax(rows, axis=0),
        'mean': np.nanmean(rows, axis=0),
        'std': np.nanstd(rows, axis=0),
    } | {
        name: np.nanquantile(rows, share, axis=0, method='inverted_cdf')
        for name, share in QUANTILES.items()
    }
    if pictures:
        found = {name: value[:, None, None] for name, value in found.items()}
    return found | {'count': np.array([len(values)], np.float64).astype(np.int64)}


def _together(parts: Sequence[Stats]) -> Stats:
    """Combine episodes; outer quantiles are bounds, because exact ones would need all values."""
    counts = np.array([part['count'][0] for part in parts], np.float64)
    weights = counts / counts.sum()

    def mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(weights, np.stack(values), axes=1))

    middle = mean([part['mean'] for part in parts])
    spread = mean([part['std'] ** 2 + (part['mean'] - middle) ** 2 for part in parts])
    found = {
        'min': np.min([part['min'] for part in parts], axis=0),
        'max': np.max([part['max'] for part in parts], axis=0),
        'mean': middle,
        'std': np.sqrt(spread),
        'count': np.array([int(counts.sum())]),
    }
    for name, share in QUANTILES.items():
        outer = np.min if share <= 0.5 else np.max
        found[name] = outer([part[name] for part in parts], axis=0)
    return found


def _task_table(tasks: Sequence[str]) -> pa.Table:
    """Task numbers by task; the task is the pandas index, as LeRobot requires."""

    def column(name: str, pandas: str, numpy: str) -> dict[str, object]:
        return {'name': name, 'field_name': name, 'pandas_type': pandas, 'numpy_type': numpy,
                'metadata': None}  # fmt: skip

    described = {
        'index_columns': ['task'],
        'column_indexes': [],
        'columns': [column('task_index', 'int64', 'int64'), column('task', 'unicode', 'object')],
        'pandas_version': '2.0.0',
    }
    schema = pa.schema(
        [('task_index', pa.int64()), ('task', pa.string())],
        metadata={'pandas': json.dumps(described)},
    )
    return pa.table({'task_index': range(len(tasks)), 'task': list(tasks)}, schema=schema)
