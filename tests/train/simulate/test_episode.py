"""Whole episodes: suites and splits, repeatable bags, a CLI that says what went wrong."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders import decode_image
from train.arguments import Parser
from train.bags.folder import read_marks
from train.bags.reader import read_bag
from train.simulate import cli, scene
from train.simulate.episode import EpisodePlan, Studio
from train.simulate.names import joint_noun, noun, place_of_site
from train.simulate.scene import SceneTask, list_scenes
from train.simulate.sound import RATE_HZ
from train.simulate.suites import EVALUATION_SUITES, TRAINING_SUITES
from train.simulate.touch import untouched

pytestmark = pytest.mark.sim


@pytest.fixture(scope='module')
def task() -> SceneTask:
    return list_scenes('libero_goal')[0]


@pytest.fixture(scope='module')
def studio(task: SceneTask) -> Iterator[Studio]:
    studio = Studio(task)
    yield studio
    studio.close()


def plan(task: SceneTask, path: Path, *, seed: int, profile: str) -> EpisodePlan:
    return EpisodePlan(
        task=task,
        seed=seed,
        profile=profile,
        duration_s=6.0 if profile == 'train' else 1.5,
        frame_every_s=0.5,
        randomise=True,
        path=path,
    )


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    return [(m.topic, m.log_ns, m.raw) for m in read_bag(path)]


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('akita_black_bowl_1', 'black bowl'),
        ('wine_bottle_1', 'wine bottle'),
        ('flat_stove_1', 'stove'),
        ('glazed_rim_porcelain_ramekin_2', 'ramekin'),
    ],
)
def test_nouns_are_plain_english(name: str, expected: str) -> None:
    assert noun(name) == expected


@pytest.mark.parametrize(
    ('site', 'parent', 'expected'),
    [
        ('wooden_cabinet_1_top_region', 'wooden_cabinet_1', ('in', 'top drawer')),
        ('wooden_cabinet_1_top_side', 'wooden_cabinet_1', ('on', 'wooden cabinet')),
        ('flat_stove_1_cook_region', 'flat_stove_1', ('on', 'stove')),
        ('microwave_1_heating_region', 'microwave_1', ('in', 'microwave')),
        ('wine_rack_1_top_region', 'wine_rack_1', ('on', 'wine rack')),
        (
            'desk_caddy_1_back_contain_region',
            'desk_caddy_1',
            ('in', 'back compartment of the caddy'),
        ),
        ('basket_1_contain_region', 'basket_1', ('in', 'basket')),
        ('flat_stove_1_burner', 'flat_stove_1', None),
    ],
)
def test_sites_become_places(site: str, parent: str, expected: tuple[str, str] | None) -> None:
    assert place_of_site(site, parent) == expected


def test_joints_are_named_for_what_opens() -> None:
    assert joint_noun('white_cabinet_1_middle_level', 'white_cabinet_1') == 'middle drawer'
    assert joint_noun('microwave_1_microjoint', 'microwave_1') == 'microwave'


def test_training_scenes_are_none_of_the_evaluation_scenes() -> None:
    training = {t.scene for suite in TRAINING_SUITES for t in list_scenes(suite)}
    evaluation = {t.scene for suite in EVALUATION_SUITES for t in list_scenes(suite)}
    assert len(training) > 20
    assert len(evaluation) > 5
    assert not training & evaluation


@pytest.mark.parametrize('suite', TRAINING_SUITES + EVALUATION_SUITES)
def test_every_scene_carries_its_split(suite: str) -> None:
    expected = 'evaluation' if suite in ('libero_goal', 'libero_10') else 'train'
    tasks = list_scenes(suite)
    assert {task.split for task in tasks} == {expected}
    assert all(task.bddl.is_file() and task.language for task in tasks)


def test_unknown_suite_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'libero_91'.*libero_90.*libero_goal"):
        list_scenes('libero_91')


@pytest.mark.parametrize('profile', ['train', 'live'])
def test_equal_seeds_give_equal_bags(
    studio: Studio, task: SceneTask, tmp_path: Path, profile: str
) -> None:
    bags = [(tmp_path / name, seed) for name, seed in (('a', 4), ('other', 5), ('b', 4))]
    counts = {
        path.name: studio.record(plan(task, path, seed=seed, profile=profile))
        for path, seed in bags
    }
    assert set(counts.values()) == {3 if profile == 'train' else 4}
    first, other, again = (contents(path) for path, _ in bags)
    assert first == again
    assert first != other


def test_a_training_bag_is_complete(studio: Studio, task: SceneTask, tmp_path: Path) -> None:
    path = tmp_path / 'bag'
    studio.record(plan(task, path, seed=2, profile='train'))
    messages = list(read_bag(path))
    stamps = {
        topic: [m.stamp_ns for m in messages if m.topic == topic]
        for topic in (
            'camera/image/compressed',
            'depth/image/compressedDepth',
            'infrared/image',
            'ground_truth/predicates',
        )
    }
    assert len(set(map(tuple, stamps.values()))) == 1
    chunks = [m for m in messages if m.topic == 'microphone/audio']
    assert sum(len(m.message.samples) for m in chunks) == 6 * RATE_HZ
    assert np.diff([m.stamp_ns for m in chunks]).tolist() == [100_000_000] * 59
    marks = read_marks(path)
    assert (marks['suite'], marks['split'], marks['seed']) == ('libero_goal', 'evaluation', '2')
    assert json.loads(marks['sensors']) == {
        'camera': 'rendered',
        'infrared': 'synthetic',
        'audio': 'synthetic',
    }


def test_pads_feel_when_asked_to_and_truth_and_picture_agree(
    studio: Studio, task: SceneTask, tmp_path: Path
) -> None:
    without, touching = tmp_path / 'without', tmp_path / 'with'
    given = plan(task, touching, seed=2, profile='train')
    studio.record(replace(given, path=without, duration_s=2.0))
    studio.record(replace(given, touch=True, duration_s=24.0))
    assert 'touch/image' not in {m.topic for m in read_bag(without)}
    messages = list(read_bag(touching))
    gels = [decode_image(m.message, modality='touch').array.astype(float) for m in messages
            if m.topic == 'touch/image']  # fmt: skip
    truths = [dict(zip(m.message.predicates, m.message.values, strict=True)) for m in messages
              if m.topic == 'ground_truth/predicates']  # fmt: skip
    touched = [bool(t['contact(gripper, something)']) for t in truths]
    differences = [float(np.abs(gel - untouched()).max()) for gel in gels]
    assert len(gels) == len(truths) == 12
    assert len(set(touched)) == 2
    assert [d > 15 for d in differences] == touched  # noise alone stays below
    assert all(t['contact(gripper, something)'] for t in truths if t['slipping(something)'])
    assert json.loads(read_marks(touching)['sensors'])['touch'] == 'synthetic'


def test_metaworld_has_no_pads_that_feel(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(parse('--suite', 'metaworld', '--out', 'nowhere', '--touch')) == 2
    assert '--touch' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (('--suite', 'libero_goal', '--no-pictures'), '--no-pictures is for contact'),
        (('--suite', 'contact', '--profile', 'train'), 'contact has live logs only'),
        (('--suite', 'contact', '--exchange-objects'), '--exchange-objects is for'),
        (('--suite', 'libero_10', '--exchange-furniture'), '--exchange-furniture is for'),
    ],
)
def test_options_that_a_suite_lacks_are_refused(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(parse(*words, '--out', 'nowhere')) == 2
    assert reason in capsys.readouterr().err


def parse(*words: object) -> argparse.Namespace:
    parser = Parser()
    cli.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def status(*words: object) -> int | str | None:
    """Exit status of a command line."""
    try:
        return cli.run(parse(*words))
    except SystemExit as ended:
        return ended.code


def test_cli_lists_the_suites_for_a_wrong_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status('--suite', 'libero_91', '--out', tmp_path) == 2
    assert 'libero_spatial' in capsys.readouterr().err


def test_cli_names_a_scene_that_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse('--suite', 'libero_90', '--scene', 'GARAGE', '--out', tmp_path)
    assert cli.run(arguments) == 2
    assert "no scene of libero_90 has 'GARAGE'" in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--episodes', '--workers', '--duration', '--rate'])
def test_cli_refuses_counts_that_are_not_positive(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status('--suite', 'libero_goal', '--out', tmp_path, option, 0) == 2
    assert option in capsys.readouterr().err


def test_cli_says_how_to_get_the_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'libero.libero', None)
    scene._libero.cache_clear()
    try:
        assert cli.run(parse('--suite', 'libero_goal', '--out', tmp_path)) == 2
    finally:
        scene._libero.cache_clear()
    assert 'simulator is not installed' in capsys.readouterr().err


def test_every_seed_is_planned_once_and_finished_bags_are_left_alone(tmp_path: Path) -> None:
    arguments = parse('--suite', 'libero_90', '--episodes', 30, '--seed', 100, '--out', tmp_path)
    episodes = [e for _, part in cli.plan_jobs(arguments) for e in part]
    assert sorted(int(str(e['seed'])) for e in episodes) == list(range(100, 130))
    done = Path(str(episodes[0]['path']))
    done.mkdir()
    (done / 'metadata.yaml').touch()
    left = [e for _, part in cli.plan_jobs(arguments) for e in part]
    assert len(left) == 29
    assert done not in [e['path'] for e in left]


def test_a_failing_episode_is_named_and_the_others_go_on(task: SceneTask, tmp_path: Path) -> None:
    fields = {'profile': 'train', 'duration_s': 2.0, 'frame_every_s': 0.1, 'randomise': False}
    in_the_way = tmp_path / 'broken'
    in_the_way.mkdir()
    episodes: list[dict[str, object]] = [
        {**fields, 'seed': 8, 'path': in_the_way},
        {**fields, 'seed': 9, 'path': tmp_path / 'good'},
    ]
    broken, good = cli.record_job((task, episodes))
    assert broken[:2] == ('libero_goal seed 8', 0)
    assert 'WriterError' in broken[2]
    assert good == ('libero_goal seed 9', 1, '')
    assert len(contents(tmp_path / 'good')) > 20
