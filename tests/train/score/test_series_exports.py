"""Series in exports: every sample in Rerun, the newest values with names and units in LeRobot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders.decode.series import WRENCH
from lb_ros.cli import main
from tests.series_sets import write_series_set
from tests.train.series_bags import SeriesBag, random_facts
from train.bags.reader import read_bag

FPS = 5


def test_rerun_has_every_sample_and_lerobot_the_newest(tmp_path: Path) -> None:
    pytest.importorskip('rerun')
    from rerun.chunk import RrdReader

    bag = SeriesBag().write(tmp_path / 'felt', random_facts(3, seed=2), skip=['joints', 'imu'])
    model = write_series_set(tmp_path / 'set', window_s=1.0)
    (tmp_path / 'p.yaml').write_text('predicates: {held: {positive: [something is held]}}')
    words = ['score', str(bag), '--predicates', str(tmp_path / 'p.yaml'), '--model', str(model)]
    words += ['--no-timeline', '--rerun', '--lerobot', str(tmp_path / 'data')]
    assert main([*words, '--lerobot-fps', str(FPS), '-o', str(tmp_path / 'out')]) == 0
    sent = [
        (m.stamp_ns, [getattr(m.message.wrench.force, axis) for axis in 'xyz'])
        for m in read_bag(bag, topics=['wrist/wrench'])
    ]

    forces: list[tuple[int, list[float]]] = []
    for chunk in RrdReader(tmp_path / 'out/felt/scores.rrd').stream():
        if chunk.entity_path == '/sensors/wrench/force' and not chunk.is_static:
            rows = chunk.to_record_batch()
            times = np.asarray(rows['time'].cast('int64')).tolist()
            forces += zip(times, rows['Scalars:scalars'].to_pylist(), strict=True)
    assert len(forces) > 0.95 * len(sent)  # those after the last window are missing
    for (time_ns, values), (stamp_ns, expected) in zip(sorted(forces), sent, strict=False):
        assert time_ns == stamp_ns
        np.testing.assert_allclose(values, expected)

    info = json.loads((tmp_path / 'data/meta/info.json').read_text())
    feature = info['features']['observation.wrench']
    assert (feature['shape'], feature['names']) == ([6], list(WRENCH))
    assert feature['info'] == {'units': ['N'] * 3 + ['N m'] * 3}
    rows = pq.read_table(tmp_path / 'data/data/chunk-000/file-000.parquet').to_pylist()
    by_values = {tuple(np.float32(force)): stamp_ns for stamp_ns, force in sent}
    for row in rows:
        stamp_ns = by_values[tuple(np.float32(row['observation.wrench'][:3]))]
        age_s = row['timestamp'] - (stamp_ns - sent[0][0]) * 1e-9
        assert -1e-3 <= age_s <= 0.1  # at most one window of 15 a second
    stats = json.loads((tmp_path / 'data/meta/stats.json').read_text())['observation.wrench']
    assert all(np.isfinite(stats['mean'])) and len(stats['mean']) == 6
