"""From bags to labelled samples."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.preprocess import Config
from encoders.preprocess.mini.audio import AudioConfig
from encoders.preprocess.mini.depth import DepthConfig
from encoders.preprocess.mini.image import ImageConfig
from encoders.preprocess.mini.infrared import InfraredConfig
from train.bags.extract import extract_bag
from train.bags.find import EvaluationDataError, find_bags, refuse_evaluation_bags
from train.bags.load import load_samples, told_once
from train.bags.samples import Samples

CONFIGS: dict[str, Config] = {
    'image': ImageConfig(size=32),
    'depth': DepthConfig(size=32),
    'infrared': InfraredConfig(size=32),
    'audio': AudioConfig(mel_bins=32, frames=48),
}
MOMENTS = [
    {'open(top drawer)': True, 'hot(stove)': False, 'dropped(something)': True},
    {'open(top drawer)': False, 'hot(stove)': True, 'dropped(something)': False},
    {'open(top drawer)': True, 'hot(stove)': True, 'dropped(something)': False},
]


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn.write(tmp_path_factory.mktemp('bags') / 'one', MOMENTS)


def truths(samples: Samples, name: str) -> list[int]:
    return samples.truth[:, samples.predicates.index(name)].tolist()


def test_every_input_belongs_to_the_moment_of_its_truth(bag: Path) -> None:
    part, problems = extract_bag(bag, CONFIGS)
    assert problems == []
    assert part.times_s.tolist() == [0.0, 0.5, 1.0]
    opened = part.truth[:, part.predicates.index('open(top drawer)')] == 1
    hot = part.truth[:, part.predicates.index('hot(stove)')] == 1
    dropped = part.truth[:, part.predicates.index('dropped(something)')] == 1
    bar = np.s_[:, 10:22, 6:12]
    np.testing.assert_array_equal(part.inputs['image'][bar].mean((1, 2, 3)) > 200, opened)
    np.testing.assert_array_equal(part.inputs['depth'][bar].max((1, 2)) == 600, opened)
    np.testing.assert_array_equal(part.inputs['infrared'][:, 20, 20] == 42_000, hot)
    # The burst fills the last 0.2 s before the stamp, so the last 20 of 48 frames of 10 ms.
    loudness = part.inputs['audio'].astype(np.float32).mean(1)
    np.testing.assert_array_equal(
        loudness[:, -15:].mean(1) > loudness[:, 5:25].mean(1) + 4, dropped
    )


def test_what_a_bag_does_not_list_is_unknown_and_never_false(
    bag: Path, drawn: Any, tmp_path: Path
) -> None:
    other = drawn.write(tmp_path / 'two', [{'on(mug, plate)': False}, {'on(mug, plate)': True}])
    samples, report = load_samples([bag, other], CONFIGS)
    assert report.problems == ()
    assert (report.bags, report.moments) == (2, 5)
    assert truths(samples, 'on(mug, plate)') == [-1, -1, -1, 0, 1]
    assert truths(samples, 'hot(stove)') == [0, 1, 1, -1, -1]
    assert samples.bag.tolist() == [0, 0, 0, 1, 1]
    assert samples.bags == ('one', 'two')


def test_several_processes_read_what_one_reads(train_bags: Path) -> None:
    bags = find_bags([train_bags])[:3]
    alone, _ = load_samples(bags, CONFIGS)
    together, _ = load_samples(bags, CONFIGS, workers=2)
    assert alone.bags == together.bags == ('bag0', 'bag1', 'bag2')
    np.testing.assert_array_equal(alone.truth, together.truth)
    for name in CONFIGS:
        np.testing.assert_array_equal(alone.inputs[name], together.inputs[name])


def test_a_bag_is_read_once_until_it_changes(bag: Path, tmp_path: Path) -> None:
    copied = tmp_path / 'one'
    shutil.copytree(bag, copied)
    cache = tmp_path / 'cache'
    first, _ = load_samples([copied], CONFIGS, cache=cache)
    storage = next(copied.glob('*.mcap'))
    stat = storage.stat()
    storage.write_bytes(bytes(stat.st_size))
    os.utime(storage, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second, report = load_samples([copied, bag], CONFIGS, cache=cache)
    assert report.problems == ()
    np.testing.assert_array_equal(second.inputs['depth'][:3], first.inputs['depth'])
    np.testing.assert_array_equal(second.truth[:3], first.truth)
    os.utime(storage)
    _, report = load_samples([copied, bag], CONFIGS, cache=cache)
    assert report.bags == 1
    assert any(str(storage) in line for line in report.problems)


def test_the_cache_never_serves_another_preprocessing(bag: Path, tmp_path: Path) -> None:
    load_samples([bag], CONFIGS, cache=tmp_path)
    smaller = {**CONFIGS, 'depth': DepthConfig(size=16)}
    samples, _ = load_samples([bag], smaller, cache=tmp_path)
    assert samples.inputs['depth'].shape == (3, 16, 16)


@pytest.mark.parametrize(
    'marks', [{'split': 'evaluation'}, {'suite': 'libero_goal'}, {'suite': 'libero_10'}]
)
def test_bags_kept_for_evaluation_are_refused_by_name(
    drawn: Any, tmp_path: Path, bag: Path, marks: dict[str, str]
) -> None:
    kept = drawn.write(tmp_path / 'kept', MOMENTS, marks=marks)
    refuse_evaluation_bags([bag])
    with pytest.raises(EvaluationDataError, match='kept for evaluation') as raised:
        refuse_evaluation_bags([bag, kept])
    assert str(kept) in str(raised.value)


def test_a_bag_without_truth_is_reported_and_left_out(
    drawn: Any, tmp_path: Path, bag: Path
) -> None:
    mute = drawn.write(tmp_path / 'mute', MOMENTS, skip=['/ground_truth/predicates'])
    samples, report = load_samples([mute, bag], CONFIGS)
    assert samples.bags == ('one',)
    assert any(str(mute) in line and 'ground_truth' in line for line in report.problems)


def test_a_missing_sensor_is_reported(drawn: Any, tmp_path: Path) -> None:
    deaf = drawn.write(tmp_path / 'deaf', MOMENTS, skip=['/microphone/audio'])
    samples, report = load_samples([deaf], CONFIGS)
    assert len(samples) == 3
    assert [line for line in report.problems if 'audio' in line]


def test_paths_without_bags_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        find_bags([tmp_path / 'nowhere'])
    with pytest.raises(FileNotFoundError, match='no bag'):
        find_bags([tmp_path])


def test_a_problem_of_many_bags_is_told_once() -> None:
    """Bags of cameras lack a wrench, each of them."""
    few = [f'bags/{number}: no imu in this bag' for number in range(3)]
    many = [f'bags/{number}: no wrench in this bag' for number in range(66)]
    own = ['bags/5: topic ground_truth/predicates is not in this bag; the bag is skipped']
    assert told_once([*many[:9], *few, *many[9:], *own]) == (
        'bags/0: no wrench in this bag; the same for 65 other bags',
        *few,
        *own,
    )
    assert told_once([]) == ()
