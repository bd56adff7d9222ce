"""The same runs written in every format, with their mappings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from train.score.lerobot_format import Feature, LerobotWriter

RATE_HZ = 50
FACT = 'contact(tool, table)'
CHANNELS = {'force.z': 'fz', 'torque.x': 'tx'}
LABEL = {FACT: {'column': 'hit', 'holds': [True, 1, 'yes'], 'fails': [False, 0, 'no']}}
Rows = tuple[np.ndarray, bool, str]


def runs(count: int = 8, *, seed: int = 0) -> list[Rows]:
    """Values `[T, 2]` of each run, whether the tool hits the table at its end, and the part."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        values = rng.normal(0, 0.1, (40 + 5 * (index % 3), 2)) * np.array([1, 0.05])
        hits = bool(rng.integers(2)) if index > 1 else bool(index)
        values[-20:, 0] -= 8.0 * hits
        made.append((values.astype(np.float32), hits, f'part{index % 3}'))
    return made


def _mapping(folder: Path, files: Any, **keys: Any) -> Path:
    sensor = {'channels': dict(CHANNELS), **keys.pop('sensor', {})}
    values = {
        'files': files,
        'sensors': {'wrench': sensor},
        'facts': LABEL,
        'group': 'part',
        **keys,
    }
    path = folder / 'recordings.yaml'
    path.write_text(yaml.safe_dump(values))
    return path


def as_ragged(folder: Path, rows: list[Rows]) -> Path:
    starts = np.cumsum([0, *(len(values) for values, _, _ in rows)])
    joined = np.concatenate([values for values, _, _ in rows])
    np.savez(
        folder / 'all.npz',
        start=starts,
        fz=joined[:, 0],
        tx=joined[:, 1],
        hit=np.array([hit for _, hit, _ in rows]),
        part=np.array([part for _, _, part in rows]),
    )
    return _mapping(folder, 'all.npz', runs={'starts': 'start'}, sensor={'rate_hz': RATE_HZ})


def as_csv(folder: Path, rows: list[Rows]) -> Path:
    for index, (values, hit, part) in enumerate(rows):
        lines = ['t_ms;fz;tx;hit;part'] if index % 2 else ['t_ms,fz,tx,hit,part']
        sign = lines[0][4]
        for row, (force, torque) in enumerate(values):
            cells = (row * 1000 / RATE_HZ, f'{force:.9g}', f'{torque:.9g}', 'yes' if hit else 'no')
            lines.append(sign.join(map(str, (*cells, part))))
        (folder / f'run_{index:02d}.csv').write_text('\n'.join(lines) + '\n')
    return _mapping(folder, 'run_*.csv', sensor={'time': 't_ms', 'time_unit': 'ms'})


def as_one_csv(folder: Path, rows: list[Rows]) -> Path:
    lines = ['run,t,fz,tx,hit,part']
    for index, (values, hit, part) in enumerate(rows):
        for row, (force, torque) in enumerate(values):
            lines.append(f'{index},{row / RATE_HZ},{force:.9g},{torque:.9g},{hit},{part}')
    (folder / 'all.csv').write_text('\n'.join(lines) + '\n')
    return _mapping(folder, 'all.csv', runs={'column': 'run'}, sensor={'time': 't'})


def as_hdf5(folder: Path, rows: list[Rows]) -> Path:
    import h5py

    with h5py.File(folder / 'all.hdf5', 'w') as file:
        for index, (values, hit, part) in enumerate(rows):
            demo = file.create_group(f'data/demo_{index}')
            demo.create_dataset('obs/ft', data=values)
            demo.attrs['hit'], demo.attrs['part'] = hit, part
    channels = {'force.z': 'obs/ft[0]', 'torque.x': 'obs/ft[1]'}
    return _mapping(
        folder,
        'all.hdf5',
        runs={'groups': 'data/demo_*'},
        sensor={'rate_hz': RATE_HZ, 'channels': channels},
    )


LEROBOT_CHANNELS = {'force.z': 'observation.*.fz', 'torque.x': 'observation.*.tx'}


def as_lerobot_2(folder: Path, rows: list[Rows], *, version: str = 'v2.1') -> Path:
    """As LeRobot 0.3 writes it: one file per episode, metadata as JSON lines."""
    meta = folder / 'set' / 'meta'
    (folder / 'set' / 'data' / 'chunk-000').mkdir(parents=True)
    meta.mkdir()
    info = {
        'codebase_version': version,
        'fps': RATE_HZ,
        'chunks_size': 1000,
        'data_path': 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
        'features': {
            'observation.wrench': {'dtype': 'float32', 'shape': [2], 'names': ['fz', 'tx']},
            'observation.images.top': {'dtype': 'video', 'shape': [3, 48, 64]},
            'hit': {'dtype': 'bool', 'shape': [1], 'names': None},
            'timestamp': {'dtype': 'float32', 'shape': [1], 'names': None},
            'episode_index': {'dtype': 'int64', 'shape': [1], 'names': None},
        },
    }
    (meta / 'info.json').write_text(json.dumps(info))
    episodes = []
    for index, (values, hit, part) in enumerate(rows):
        count = len(values)
        table = pa.table(
            {
                'observation.wrench': pa.array(values.tolist(), pa.list_(pa.float32(), 2)),
                'hit': [hit] * count,
                'timestamp': np.arange(count, dtype=np.float32) / RATE_HZ,
                'episode_index': [index] * count,
            }
        )
        pq.write_table(table, folder / f'set/data/chunk-000/episode_{index:06d}.parquet')
        episodes.append({'episode_index': index, 'tasks': [part], 'length': count})
    (meta / 'episodes.jsonl').write_text('\n'.join(map(json.dumps, episodes)) + '\n')
    return _mapping(folder, 'set', group='task', sensor={'channels': LEROBOT_CHANNELS})


def as_lerobot_3(folder: Path, rows: list[Rows]) -> Path:
    """As this project exports it, joined into one file as LeRobot 0.4 does."""
    features = {
        'observation.wrench': Feature('float32', (2,), ('fz', 'tx')),
        'hit': Feature('bool', (1,)),
    }
    writer = LerobotWriter(folder / 'set', fps=RATE_HZ)
    for values, hit, part in rows:
        frames = ({'observation.wrench': row, 'hit': hit} for row in values)
        writer.add_episode(features, frames, count=len(values), task=part)
    writer.finish()
    data = sorted((folder / 'set' / 'data').rglob('*.parquet'))
    joined = pa.concat_tables([pq.read_table(file) for file in data])
    for file in data:
        file.unlink()
    pq.write_table(joined, data[0])
    (listed,) = (folder / 'set' / 'meta' / 'episodes').rglob('*.parquet')
    table = pq.read_table(listed)
    column = table.schema.get_field_index('data/file_index')
    zeros = pa.array([0] * len(table), pa.int64())
    pq.write_table(table.set_column(column, 'data/file_index', zeros), listed)
    return _mapping(folder, 'set', group='task', sensor={'channels': LEROBOT_CHANNELS})


FORMATS: dict[str, Callable[[Path, list[Rows]], Path]] = {
    'ragged': as_ragged,
    'csv': as_csv,
    'one_csv': as_one_csv,
    'hdf5': as_hdf5,
    'lerobot_2': as_lerobot_2,
    'lerobot_3': as_lerobot_3,
}
