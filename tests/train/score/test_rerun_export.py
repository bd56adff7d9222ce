"""The Rerun recording of a scored bag, read back by Rerun's own reader."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders import decode_image
from lb_ros.cli import main
from train.bags.reader import read_bag

PREDICATES = """
predicates:
  drawer:
    positive: [the top drawer is open]
    negative: [the top drawer is closed]
  hot(stove)/left:
    positive: [the stove is hot]
    negative: [the stove is cold]
"""
MOMENTS = [{'open(top drawer)': i % 4 > 1, 'dropped(something)': i == 7} for i in range(10)]
Rows = list[tuple[int, Any]]


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(drawn.write(tmp_path_factory.mktemp('bags') / 'kitchen', MOMENTS))


@pytest.fixture(scope='module')
def words(bag: Path, tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    predicates = tmp_path_factory.mktemp('predicates') / 'predicates.yaml'
    predicates.write_text(PREDICATES)
    model = ['--model', str(tiny_model_set), '--no-timeline', '--rerun']
    return ['score', str(bag), '--predicates', str(predicates), *model]


@pytest.fixture(scope='module')
def scored(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('rerun')
    out = tmp_path_factory.mktemp('scored')
    assert main([*words, '-o', str(out)]) == 0
    return out / 'kitchen'


@pytest.fixture(scope='module')
def recorded(scored: Path) -> dict[str, Rows]:
    """What changes with time: entity and component to (nanoseconds, value)."""
    from rerun.chunk import RrdReader

    found: dict[str, Rows] = defaultdict(list)
    for chunk in RrdReader(scored / 'scores.rrd').stream():
        if chunk.is_static:
            continue
        assert chunk.timeline_names == ['time']
        rows = chunk.to_record_batch()
        times = np.asarray(rows['time'].cast('int64'))
        for name in rows.schema.names:
            if ':' in name:
                values = [v[0] for v in rows[name].to_pylist()]
                found[f'{chunk.entity_path} {name}'] += zip(times.tolist(), values, strict=True)
    return {name: sorted(rows, key=lambda row: row[0]) for name, rows in found.items()}


def test_every_picture_is_there_and_depth_is_in_millimetres(
    bag: Path, recorded: dict[str, Rows]
) -> None:
    depth = recorded['/sensors/depth EncodedDepthImage:blob']
    sent = list(read_bag(bag, topics=['depth/image']))
    assert [stamp_ns for stamp_ns, _ in depth] == [message.stamp_ns for message in sent]
    for (_, png), message in zip(depth, sent, strict=True):
        read = cv2.imdecode(np.frombuffer(bytes(png), np.uint8), cv2.IMREAD_UNCHANGED)
        expected = decode_image(message.message, modality='depth').array
        assert read.dtype == np.uint16 and np.array_equal(read, expected)
    for modality in ('image', 'infrared'):
        pictures = recorded[f'/sensors/{modality} EncodedImage:blob']
        assert len(pictures) == len(MOMENTS)
        assert all(bytes(jpeg).startswith(b'\xff\xd8') for _, jpeg in pictures)


def test_the_level_is_highest_where_something_fell(recorded: dict[str, Rows]) -> None:
    levels = recorded['/sensors/audio/level_dbfs Scalars:scalars']
    assert len(levels) == len(MOMENTS)
    assert int(np.argmax([level for _, level in levels])) == 7


def test_probabilities_and_states_are_those_of_the_table(
    scored: Path, recorded: dict[str, Rows]
) -> None:
    rows = pq.read_table(scored / 'scores.parquet').to_pylist()
    for modality in ('fused', 'depth', 'audio'):
        mine = [r for r in rows if (r['predicate'], r['modality']) == ('drawer', modality)]
        expected = [
            (r['stamp_ns'], r['probability']) for r in mine if r['probability'] is not None
        ]
        told = recorded[f'/predicates/drawer/probability/{modality} Scalars:scalars']
        assert [t for t, _ in told] == [t for t, _ in expected]
        np.testing.assert_allclose([p for _, p in told], [p for _, p in expected], atol=1e-6)
    states = dict(recorded['/predicates/drawer/state StateChange:state'])
    now, kept = None, {}
    for row in (r for r in rows if (r['predicate'], r['modality']) == ('drawer', 'fused')):
        now = states.get(row['stamp_ns'], now)
        kept[row['stamp_ns']] = now
        assert now == row['state']
    assert len(kept) > len(states)  # changes alone are told
    awkward = [name for name in recorded if 'hot' in name and name.endswith('StateChange:state')]
    assert awkward == ['/predicates/hot\\(stove\\)\\/left/state StateChange:state']


def test_truth_is_logged_where_it_changes(recorded: dict[str, Rows]) -> None:
    told = [value for _, value in recorded['/predicates/drawer/truth StateChange:state']]
    assert told == ['false', 'true', 'false', 'true', 'false']


def test_nothing_half_written_is_left(scored: Path) -> None:
    assert {path.name for path in scored.iterdir()} == {
        'scores.parquet', 'scores.rrd', 'scores.embeddings',
    }  # fmt: skip


def test_a_missing_package_is_reported_before_scoring(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    assert main([*words, '-o', str(tmp_path / 'out')]) == 2
    assert 'pip install "lb_ros[rerun]"' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
