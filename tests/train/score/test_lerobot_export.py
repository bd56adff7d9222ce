"""The LeRobot data set of scored bags: its layout, and frames that hold what was newest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import decode_image
from lb_ros.cli import main
from train.bags.reader import read_bag
from train.score.lerobot_format import _statistics, _together

PREDICATES = """
predicates:
  drawer:
    positive: [the top drawer is open]
    negative: [the top drawer is closed]
  stove:
    positive: [the stove is hot]
    negative: [the stove is cold]
"""
MOMENTS = [{'open(top drawer)': i % 4 > 1, 'hot(stove)': i > 5} for i in range(10)]
FPS = 4


@pytest.fixture(scope='module')
def bags(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bags')
    drawn.write(folder / 'a', MOMENTS)
    drawn.write(folder / 'b', MOMENTS[:6], seed=1)
    drawn.write(folder / 'blind', MOMENTS[:4], skip=['/depth/image'])
    return folder


@pytest.fixture(scope='module')
def words(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    predicates = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    options = ['--no-timeline', '--lerobot-fps', str(FPS), '--model', str(tiny_model_set)]
    return ['score', '--predicates', str(predicates), *options]


@pytest.fixture(scope='module')
def dataset(bags: Path, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('out')
    assert main([*words, str(bags), '-o', str(out / 'scored'), '--lerobot', str(out / 'set')]) == 0
    return out / 'set'


def described(dataset: Path) -> dict[str, Any]:
    return dict(json.loads((dataset / 'meta/info.json').read_text()))


def test_the_description_fits_the_files(dataset: Path) -> None:
    info = described(dataset)
    assert (info['codebase_version'], info['fps']) == ('v3.0', FPS)
    assert info['total_episodes'] == 2  # that of a robot without depth is another data set
    episodes = pq.read_table(dataset / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
    reached = 0
    for index, episode in enumerate(episodes):
        place = {'chunk_index': episode['data/chunk_index'], 'file_index': index}
        rows = pq.read_table(dataset / info['data_path'].format(**place))
        assert set(rows.schema.names) == set(info['features'])
        assert episode['dataset_from_index'] == reached
        reached += episode['length']
        assert episode['dataset_to_index'] == reached
        expected = np.arange(episode['length'])
        assert np.array_equal(rows['frame_index'].to_numpy(), expected)
        assert np.allclose(rows['timestamp'].to_numpy(), expected / FPS)
        assert set(rows['episode_index'].to_pylist()) == {index}
        assert rows['index'].to_pylist()[-1] == reached - 1
        for name, feature in info['features'].items():
            kind = rows.schema.field(name).type
            if feature['dtype'] == 'image':
                assert pa.types.is_struct(kind)
            elif feature['shape'] == [1]:
                assert str(kind).replace('float', 'float32') == feature['dtype'] or (
                    str(kind) == feature['dtype']
                )
            else:
                assert kind.list_size == feature['shape'][0] == len(feature['names'])
    assert reached == info['total_frames']
    tasks = pq.read_table(dataset / 'meta/tasks.parquet')
    assert tasks.to_pylist() == [{'task_index': 0, 'task': ''}]
    assert json.loads(tasks.schema.metadata[b'pandas'])['index_columns'] == ['task']


def test_frames_hold_what_was_newest(bags: Path, dataset: Path) -> None:
    rows = pq.read_table(dataset / 'data/chunk-000/file-000.parquet').to_pylist()
    depth = list(read_bag(bags / 'a', topics=['depth/image']))
    colour = list(read_bag(bags / 'a', topics=['camera/image/compressed']))
    assert len(rows) == (len(MOMENTS) - 1) * FPS / 2 + 1
    for row in rows:
        newest = int(row['timestamp'] * 2)
        sent = decode_image(depth[newest].message, modality='depth').array
        kept = row['observation.images.depth']['bytes']
        assert np.array_equal(
            cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_UNCHANGED), sent
        )
        jpeg = row['observation.images.camera']['bytes']
        assert jpeg == bytes(colour[newest].message.data)  # not coded a second time


def test_predicates_are_those_of_the_table(dataset: Path) -> None:
    info = described(dataset)
    assert info['features']['observation.predicates']['names'] == ['drawer', 'stove']
    scores = pq.read_table(dataset.parent / 'scored/a/scores.parquet').to_pylist()
    fused = [r for r in scores if (r['predicate'], r['modality']) == ('drawer', 'fused')]
    start_ns = fused[0]['stamp_ns']
    for row in pq.read_table(dataset / 'data/chunk-000/file-000.parquet').to_pylist():
        now_ns = start_ns + round(row['timestamp'] * 1e9)
        newest = [r for r in fused if r['stamp_ns'] <= now_ns][-1]
        assert row['observation.predicates'][0] == pytest.approx(newest['probability'], abs=1e-6)
        state = ['UNKNOWN', 'FALSE', 'TRUE'][row['predicates.state'][0]]
        assert state == newest['state']
        if row['frame_index'] % 2 == 0:
            truth = MOMENTS[row['frame_index'] // 2]
            assert row['predicates.truth'] == [truth['open(top drawer)'], truth['hot(stove)']]
        else:
            assert row['predicates.truth'] == [-1, -1]  # too long after the last word


def test_statistics_are_of_the_frames(dataset: Path) -> None:
    stats = json.loads((dataset / 'meta/stats.json').read_text())
    values = [
        row['observation.predicates']
        for file in sorted((dataset / 'data').rglob('*.parquet'))
        for row in pq.read_table(file, columns=['observation.predicates']).to_pylist()
    ]
    told = stats['observation.predicates']
    np.testing.assert_allclose(told['mean'], np.mean(values, axis=0), atol=1e-6)
    np.testing.assert_allclose(told['std'], np.std(values, axis=0), atol=1e-6)
    np.testing.assert_allclose(told['max'], np.max(values, axis=0), atol=1e-6)
    colour = stats['observation.images.camera']
    assert np.shape(colour['mean']) == (3, 1, 1) and 0 < np.mean(colour['mean']) < 1


def test_what_is_there_is_not_overwritten(
    bags: Path, words: list[str], dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (dataset / 'meta/info.json').read_bytes()
    out = ['-o', str(dataset.parent / 'scored'), '--lerobot', str(dataset)]
    assert main([*words, str(bags / 'a'), *out]) == 2
    assert f'{dataset}: exists' in capsys.readouterr().err
    assert (dataset / 'meta/info.json').read_bytes() == before


def test_a_bag_with_other_sensors_is_reported_and_left_out(
    bags: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [str(bags / 'b'), str(bags / 'blind')]
    out = ['-o', str(tmp_path / 'scored'), '--lerobot', str(tmp_path / 'set')]
    assert main([*words, *both, *out]) == 0
    error = capsys.readouterr().err
    assert 'blind: not in the LeRobot data set: observation.images.depth is none' in error
    assert described(tmp_path / 'set')['total_episodes'] == 1
    assert (tmp_path / 'scored/blind/scores.parquet').exists()


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), min_size=1, max_size=5))
def test_statistics_of_parts_are_those_of_the_whole(parts: list[list[float]]) -> None:
    together = _together([_statistics(part) for part in parts])
    whole = _statistics([value for part in parts for value in part])
    for name in ('min', 'max', 'mean', 'std', 'count'):
        np.testing.assert_allclose(together[name], whole[name], atol=1e-6)
    assert together['q01'] <= whole['q01'] + 1e-9 and together['q99'] >= whole['q99'] - 1e-9
