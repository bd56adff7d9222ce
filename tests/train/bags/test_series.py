"""Series in bags: training gets the windows that a live stream would have cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.decode.channels import ChannelDescription, config_values
from encoders.decode.series import SeriesOptions
from encoders.decode.series_stream import SeriesStream
from encoders.preprocess import is_series, mini_config, to_stored
from tests.train.series_bags import FACTS, START_NS, SeriesBag, random_facts
from train.bags.extract import extract_bag
from train.bags.load import load_samples
from train.bags.reader import read_bag
from train.bags.topics import TOPICS

CONFIGS = {name: mini_config(name, {'window_s': 1.0}) for name in ('wrench', 'joints', 'imu')}
COUNT = 5


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SeriesBag().write(
        tmp_path_factory.mktemp('series') / 'bag', random_facts(COUNT, seed=1)
    )


def test_training_gets_what_a_live_stream_cuts(bag: Path) -> None:
    samples, problems = extract_bag(bag, CONFIGS)
    assert problems == []
    assert samples.predicates == FACTS
    for name, config in CONFIGS.items():
        assert is_series(config)
        options = SeriesOptions(channels=config.channels)
        stream = SeriesStream(name, options, length_s=config.window_s)
        ends = iter(range(1, COUNT + 1))
        end_s, expected = next(ends), []
        for message in read_bag(bag, topics=[*TOPICS[name], 'ground_truth/predicates']):
            if message.topic in TOPICS[name]:
                cut = stream.add(message.message, stamp_ns=message.stamp_ns)
            elif message.stamp_ns == START_NS + end_s * 1_000_000_000:
                # A message with the stamp of the truth is written after it.
                expected.append(to_stored(stream.window(cut).raw, config))
                end_s = next(ends, 0)
        found = samples.inputs[name]
        assert found.shape == (COUNT, 97, len(config.channels))
        # Within a step, the newest message before the truth or at it ends the window.
        for row in range(COUNT):
            np.testing.assert_allclose(found[row, 0], expected[row][0], rtol=1e-6)
        np.testing.assert_array_equal(found[-1], expected[-1])


def test_the_beginning_of_a_bag_is_no_fault(bag: Path) -> None:
    config = mini_config('wrench', {'window_s': 4.0})
    samples, problems = extract_bag(bag, {'wrench': config})
    assert samples.inputs['wrench'].reshape(COUNT, -1).any(1).tolist() == [False, *[True] * 4]
    assert problems == []


def test_forces_are_tared_at_the_start_of_the_bag(bag: Path) -> None:
    samples, _ = extract_bag(bag, {'wrench': CONFIGS['wrench']})
    pressed = samples.truth[:, 0] == 1
    change = samples.inputs['wrench'][:, 60:, 2].mean(1) - samples.inputs['wrench'][:, 0, 2]
    np.testing.assert_allclose(change, np.where(pressed, -8, 0), atol=0.3)


def test_the_cache_is_kept_while_only_statistics_change(bag: Path, tmp_path: Path) -> None:
    first, _ = load_samples([bag], CONFIGS, cache=tmp_path)
    fitted = mini_config('wrench', {'window_s': 1.0, 'scale': [2.0] * 6, 'centre': [0.0] * 6})
    second, _ = load_samples([bag], CONFIGS | {'wrench': fitted}, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(first.inputs['wrench'], second.inputs['wrench'])
    load_samples([bag], CONFIGS | {'wrench': mini_config('wrench', {})}, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_bag_without_a_sensor_or_with_other_joints_is_reported(tmp_path: Path) -> None:
    path = SeriesBag().write(tmp_path / 'bag', random_facts(3, seed=2), skip=['imu'])
    configs = CONFIGS | {'joints': mini_config('joints', OTHER)}
    samples, problems = extract_bag(path, configs)
    assert not samples.inputs['imu'].any()
    assert any('no imu in this bag' in line for line in problems)
    assert not samples.inputs['joints'].any()
    assert any('position of elbow has no finite value' in line for line in problems)
    assert samples.inputs['wrench'].any()


OTHER = {'channels': ('elbow.position', 'elbow.effort'), 'relative': (), 'window_s': 1.0}


def test_any_field_of_any_message_is_a_channel(tmp_path: Path) -> None:
    path = SeriesBag().write(tmp_path / 'bag', random_facts(4, seed=3))
    channels = {
        'press': ChannelDescription(
            'force on the tool, newtons', topic='/wrist/wrench', field='wrench.force.z'
        ),
        'finger': ChannelDescription(
            'effort of the finger', topic='joint_states', field='effort{finger_joint}'
        ),
        'absent': ChannelDescription(
            'pressure, bar', topic='air/pressure', field='fluid_pressure'
        ),
    }
    config = mini_config('signals', config_values(channels) | {'window_s': 1.0})
    usual = {name: CONFIGS[name] for name in ('wrench', 'joints')}
    samples, problems = extract_bag(path, {'signals': config, **usual})
    found = samples.inputs['signals']
    assert np.isnan(found[:, :, 2]).all()
    assert any('absent has no finite value' in line for line in problems)
    force = usual['wrench'].channels.index('force.z')
    # Both windows end with their own newest message, some milliseconds apart.
    wrench = samples.inputs['wrench'][:, 1:, force]
    np.testing.assert_allclose(np.nanmean(found[:, 1:, 0], 1), np.nanmean(wrench, 1), atol=0.3)
    effort = usual['joints'].channels.index('finger_joint.effort')
    joints = samples.inputs['joints'][:, 1:, effort]
    np.testing.assert_allclose(np.nanmean(found[:, 1:, 1], 1), np.nanmean(joints, 1), atol=0.5)
