"""The same recordings give the same samples from every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from encoders.preprocess import mini_config
from tests.train.recordings import recorded
from train.bags.recorded import extract_recordings
from train.recordings.mapping import Recordings, read_mapping
from train.recordings.runs import read_runs
from train.recordings.series import moments
from train.recordings.table import RecordingError
from train.validated import InvalidRecordError

CONFIG = mini_config(
    'wrench',
    {'channels': ('force.z', 'torque.x'), 'window_s': 0.48, 'rate_hz': 50.0},
)


def samples(path: Path) -> Any:
    found, problems = extract_recordings(path, {'wrench': CONFIG})
    assert not problems
    return found


@pytest.mark.parametrize('name', recorded.FORMATS)
def test_every_format_gives_the_same_samples(name: str, tmp_path: Path) -> None:
    rows = recorded.runs()
    found = samples(recorded.FORMATS[name](tmp_path, rows))
    assert found.predicates == (recorded.FACT,)
    assert found.truth[:, 0].tolist() == [int(hit) for _, hit, _ in rows]
    assert [found.bags[bag] for bag in found.bag] == [part for _, _, part in rows]
    for stored, (values, _, _) in zip(found.inputs['wrench'], rows, strict=True):
        assert np.isnan(stored[0]).all()  # not tared at the start: no baseline
        np.testing.assert_allclose(stored[1:], values[-24:], atol=1e-5)


def test_a_baseline_is_taken_where_the_sensor_rests_at_the_start(tmp_path: Path) -> None:
    rows = recorded.runs(2)
    path = recorded.as_ragged(tmp_path, rows)
    values = yaml.safe_load(path.read_text())
    values['sensors']['wrench']['tared_at_start'] = True
    path.write_text(yaml.safe_dump(values))
    found = samples(path)
    for stored, (rows_of_run, _, _) in zip(found.inputs['wrench'], rows, strict=True):
        np.testing.assert_allclose(stored[0], np.median(rows_of_run[:14], axis=0), atol=1e-6)


def test_selected_runs_and_another_mapping_like_the_first(tmp_path: Path) -> None:
    recorded.as_ragged(tmp_path, recorded.runs())
    other = tmp_path / 'other.yaml'
    other.write_text('like: recordings.yaml\nonly: {part: [part1]}\nsplit: evaluation\n')
    assert samples(other).bags == ('part1',)
    other.write_text('like: recordings.yaml\nwithout: {part: part1}\n')
    assert samples(other).bags == ('part0', 'part2')


def test_windows_within_a_run_have_the_label_of_their_row(tmp_path: Path) -> None:
    steps = np.arange(400)
    np.savez(tmp_path / 'all.npz', t=steps / 50, fz=np.sin(steps), late=steps >= 200)
    mapping = {
        'files': ['all.npz'],
        'sensors': {'wrench': {'channels': {'force.z': 'fz'}, 'time': 't'}},
        'facts': {recorded.FACT: {'column': 'late'}},
        'every_s': 1.0,
    }
    path = tmp_path / 'recordings.yaml'
    path.write_text(yaml.safe_dump(mapping))
    config = mini_config('wrench', {'channels': ('force.z',), 'window_s': 0.48, 'rate_hz': 50.0})
    found, _ = extract_recordings(path, {'wrench': config})
    assert found.times_s.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert found.truth[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(found.inputs['wrench'][0, 1:, 0], np.sin(steps[27:51]), atol=1e-6)


@pytest.mark.parametrize('shape', [(40, 10, 2), (40, 20)])
def test_several_readings_in_a_row_are_successive(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A LeRobot frame of a fast sensor holds ten readings; so may flat columns."""
    flat = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    np.savez(tmp_path / 'all.npz', w=flat.reshape(shape), hit=np.ones(40, bool))
    mapping = {
        'files': 'all.npz',
        'sensors': {'wrench': {'channels': {'force.z': 'w[*][0]'}, 'rate_hz': 10}},
        'facts': recorded.LABEL,
    }
    if len(shape) == 2:
        mapping['sensors'] = {'wrench': {'channels': {'force.z': 'w[*]'}, 'rate_hz': 10}}
    recordings = Recordings(**mapping)
    ((_, run),) = read_runs(recordings, tmp_path, problem=print)
    (moment,) = moments(run, recordings, {'wrench': 2.0})
    series = moment.series['wrench']
    steps = np.diff(series.stamps_s)
    if len(shape) == 3:
        np.testing.assert_allclose(steps, 0.01, atol=1e-6)
        np.testing.assert_allclose(series.values[:, 0], flat[-len(series.values) :, 0])
    else:
        np.testing.assert_allclose(steps, 0.005, atol=1e-6)
        np.testing.assert_allclose(series.values[:, 0], flat.ravel()[-len(series.values) :])


def test_a_run_is_stretched_to_a_window(tmp_path: Path) -> None:
    rows = recorded.runs()
    path = recorded.as_ragged(tmp_path, rows)
    values = yaml.safe_load(path.read_text())
    values['sensors']['wrench']['stretch_s'] = 0.5
    path.write_text(yaml.safe_dump(values))
    found = samples(path)
    assert np.isfinite(found.inputs['wrench'][:, 1:]).all()
    starts = found.inputs['wrench'][:, 1, 0]
    firsts = np.array([values[:3, 0].mean() for values, _, _ in rows])
    assert np.abs(starts - firsts).max() < 0.4


def test_a_single_reading_is_a_window(tmp_path: Path) -> None:
    taxels = np.random.default_rng(0).normal(2000, 300, (6, 2, 3))
    np.savez(tmp_path / 'all.npz', taxels=taxels, hit=np.arange(6) % 2 == 0)
    mapping = {
        'files': 'all.npz',
        'runs': {'first_axis': True},
        'sensors': {'wrench': {'channels': ['taxels*'], 'snapshot': True}},
        'facts': recorded.LABEL,
    }
    path = tmp_path / 'recordings.yaml'
    path.write_text(yaml.safe_dump(mapping))
    names = tuple(f'taxels[{i}][{j}]' for i in range(2) for j in range(3))
    config = mini_config(
        'wrench',
        {
            'channels': names,
            'floor': (20.0,) * 6,
            'window_s': 0.01,
            'rate_hz': 100.0,
            'patch_ms': 10.0,
        },
    )
    found, problems = extract_recordings(path, {'wrench': config})
    assert not problems
    np.testing.assert_allclose(found.inputs['wrench'][:, 1], taxels.reshape(6, 6), rtol=1e-6)
    assert len(found.bags) == 6  # without a group, every run is one


def test_all_errors_of_a_mapping_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / 'recordings.yaml'
    path.write_text(
        'files: all.npz\n'
        'sensor: {}\n'
        'sensors:\n'
        '  wrench:\n'
        '    channels: {force.z: fz}\n'
        '    rate_hz: -5\n'
        '    time_units: ms\n'
        'facts:\n'
        '  contact(tool, table): {holds: [1]}\n'
    )
    with pytest.raises(InvalidRecordError) as caught:
        read_mapping(path)
    lines = str(caught.value).splitlines()
    assert any("unknown key 'sensor'" in line and ':2:' in line for line in lines)
    assert any('rate_hz' in line for line in lines)
    assert any("unknown key 'sensors.wrench.time_units'" in line for line in lines)
    assert any("missing key 'facts.contact(tool, table).column'" in line for line in lines)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'files': 'none.npz'}, 'no such file'),
        ({'only': {'colour': 'red'}}, "no value 'colour'"),
        ({'group': 'colour'}, "no value 'colour'"),
        ({'runs': {'starts': 'fz'}}, 'whole numbers'),
        ({'sensors': {'wrench': {'channels': {'force.z': 'fx*'}, 'rate_hz': 50}}}, 'fz, tx'),
        ({'sensors': {'wrench': {'channels': {'force.z': 'fz'}}}}, '`time`'),
        ({'sensors': {'wrench': {'channels': {'force.z': 'fz'}, 'time': 't'}}}, "'t'"),
        ({'format': 'hdf5'}, 'skipped'),
    ],
)
def test_what_is_wrong_with_a_mapping_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = recorded.as_ragged(tmp_path, recorded.runs(3))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    try:
        found, problems = extract_recordings(path, {'wrench': CONFIG})
    except RecordingError as error:
        assert message in str(error)
    else:
        assert not len(found)
        assert any(message in line for line in problems)


def test_a_damaged_file_of_many_costs_only_itself(tmp_path: Path) -> None:
    path = recorded.as_csv(tmp_path, recorded.runs(4))
    (tmp_path / 'run_01.csv').write_bytes(b'\xff\xfe\x00')
    found, problems = extract_recordings(path, {'wrench': CONFIG})
    assert len(found) == 3
    assert len(problems) == 1
    assert 'run_01.csv' in problems[0]


def test_hdf5_without_its_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded.as_hdf5(tmp_path, recorded.runs(2))
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    _, problems = extract_recordings(path, {'wrench': CONFIG})
    assert 'lb_ros[hdf5]' in problems[0]


def test_an_unknown_version_of_lerobot_is_named(tmp_path: Path) -> None:
    path = recorded.as_lerobot_2(tmp_path, recorded.runs(2), version='v1.6')
    _, problems = extract_recordings(path, {'wrench': CONFIG})
    assert 'v1.6' in problems[0]
    assert 'v3.0' in problems[0]
