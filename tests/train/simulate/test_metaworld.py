"""MetaWorld's experts: every task in words, truth that changes, repeatable bags, clear errors."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from encoders.decode import decode_audio
from train.arguments import Parser
from train.bags.folder import read_marks
from train.bags.reader import BagMessage, read_bag
from train.phrasings import Phrasings
from train.simulate import cli
from train.simulate.bag import TYPES
from train.simulate.episode import EpisodePlan
from train.simulate.metaworld.episode import ExpertCamera, record
from train.simulate.metaworld.scene import ExpertScene
from train.simulate.metaworld.tasks import TASKS, Done, ExpertTask, list_tasks
from train.simulate.metaworld.truth import evaluate
from train.simulate.metaworld.world import BEFORE_S, ExpertWorld
from train.simulate.world import AMBIENT_K

pytestmark = pytest.mark.sim

TASK = {task.scene: task for task in TASKS}


def play(scene: str, *, seed: int = 3) -> tuple[ExpertWorld, dict[str, list[bool]]]:
    """An episode without sensors, and what became of each predicate, ten times a second."""
    world = ExpertWorld(ExpertScene(TASK[scene], seed=seed), np.random.default_rng(0))
    course: dict[str, list[bool]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for step in range(1000):
            if world.is_over():
                break
            world.step()
            if step % 8 == 0:
                for predicate, value in evaluate(world).items():
                    course.setdefault(predicate, []).append(value)
    world.finish()
    return world, course


def plan(path: Path, *, scene: str, seed: int = 4, duration_s: float = 30.0) -> EpisodePlan:
    return EpisodePlan(
        task=TASK[scene],
        seed=seed,
        profile='live',
        duration_s=duration_s,
        frame_every_s=0.25,
        randomise=True,
        path=path,
    )


def messages_of(path: Path) -> list[BagMessage]:
    return list(read_bag(path))


def course_of(messages: list[BagMessage], predicate: str) -> list[bool]:
    truths = [m.message for m in messages if m.topic == 'ground_truth/predicates']
    named = [dict(zip(t.predicates, map(bool, t.values), strict=True)) for t in truths]
    return [truth[predicate] for truth in named if predicate in truth]


def changes(course: list[bool]) -> list[bool]:
    """A course without repetitions."""
    return [v for i, v in enumerate(course) if i == 0 or v != course[i - 1]]


def test_every_task_of_metaworld_has_a_row_and_an_expert() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    names = [f'{task.scene}-v3' for task in list_tasks()]
    assert len(names) == 50
    assert sorted(names) == sorted(ALL_V3_ENVIRONMENTS) == sorted(ENV_POLICY_MAP)
    assert all(task.facts for task in TASKS)


@pytest.mark.parametrize(
    'tasks', [TASKS[::10], pytest.param(TASKS, marks=pytest.mark.slow)], ids=['some', 'all']
)
def test_every_part_exists_in_the_model_and_is_handled(tasks: Sequence[ExpertTask]) -> None:
    for task in tasks:
        scene = ExpertScene(task, seed=0)
        assert scene.part > 0, task.scene
        assert set(scene.fixture_bodies()) == {noun for noun, _ in task.touches}


@pytest.mark.parametrize('name', ['trained', 'unseen'])
def test_every_predicate_has_wordings(name: str) -> None:
    phrasings = Phrasings.load(name)
    for task in TASKS:
        for fact in task.facts:
            is_done = isinstance(fact, Done)
            predicate = f'done({task.language})' if is_done else fact.predicate
            assert phrasings.knows(predicate), predicate


@pytest.mark.parametrize(
    ('scene', 'predicate', 'expected'),
    [
        ('drawer-close', 'open(drawer)', [True, False]),
        ('drawer-close', 'shut(drawer)', [False, True]),
        ('window-open', 'open(window)', [False, True]),
        ('window-open', 'contact(gripper, window)', [False, True]),
        ('button-press', 'pressed(button)', [False, True]),
        ('handle-pull', 'pressed(handle)', [True, False]),
        ('door-unlock', 'locked(door)', [True, False]),
        ('plate-slide', 'in(puck, net)', [False, True]),
        ('disassemble', 'on(nut, peg)', [True, False]),
        ('bin-picking', 'in(block, red bin)', [True, False]),
        ('bin-picking', 'in(block, blue bin)', [False, True]),
        ('pick-place', 'holding(puck)', [False, True]),
        ('pick-place', 'lifted(something)', [False, True]),
        ('hammer', 'contact(hammer, nail)', [False, True]),
        ('dial-turn', 'done(turn the dial)', [False, True]),
    ],
)
def test_truth_changes_as_the_task_is_done(
    scene: str, predicate: str, expected: list[bool]
) -> None:
    world, course = play(scene)
    assert world.succeeded_s is not None
    assert changes(course[predicate]) == expected


def test_the_expert_starts_after_a_rest_and_stops_soon_after_success() -> None:
    world, _ = play('reach')
    assert world.succeeded_s is not None
    assert BEFORE_S < world.succeeded_s < world.now_s < world.succeeded_s + 1.1


def test_what_moves_is_heard_when_it_moves() -> None:
    world, _ = play('drawer-close')
    assert world.succeeded_s is not None
    at_s = {sound.kind: sound.at_s for sound in world.sounds}
    assert set(at_s) >= {'motor', 'slide', 'thud'}
    assert BEFORE_S <= at_s['motor'] < at_s['slide'] < at_s['thud']
    assert abs(at_s['thud'] - world.succeeded_s) < 0.2
    assert world.events == [('shut(drawer)', at_s['thud'])]


def test_a_button_clicks_and_an_empty_reach_is_only_motors() -> None:
    assert 'click' in {sound.kind for sound in play('button-press')[0].sounds}
    assert {sound.kind for sound in play('reach')[0].sounds} == {'motor'}


def test_the_camera_is_upright_and_sees_a_warm_robot() -> None:
    world, _ = play('reach')
    camera = ExpertCamera(world.scene)
    try:
        frame = camera.look(world, np.random.default_rng(0))
    finally:
        camera.close()
    up = world.scene.data.camera('corner4').xmat.reshape(3, 3)[:, 1]
    assert up[2] > 0.5
    red, green, blue = (frame.rgb[..., k].astype(int) for k in range(3))
    warm = np.kron(frame.infrared > (AMBIENT_K + 4.5) * 100, np.ones((8, 8), bool))
    arm = np.kron((red > 90) & (green < 50) & (blue < 50), np.ones((5, 5), bool))
    assert (arm & warm).sum() > 0.8 * arm.sum()
    table_mm = frame.depth_mm[-40:, 120:]
    assert 300 < np.median(table_mm) < 1500


@pytest.mark.parametrize(
    ('scene', 'predicate'), [('drawer-open', 'open(drawer)'), ('door-open', 'open(door)')]
)
def test_a_bag_shows_the_expert_at_work(tmp_path: Path, scene: str, predicate: str) -> None:
    path = tmp_path / 'bag'
    count = record(plan(path, scene=scene))
    messages = messages_of(path)
    topics = {m.topic: m.type_name for m in messages}
    assert topics == {topic: TYPES[topic] for topic in topics}
    assert set(topics) >= {
        'camera/image/compressed',
        'depth/image/compressedDepth',
        'infrared/image',
        'microphone/audio',
        'task/text',
    }
    assert sum(m.topic == 'infrared/image' for m in messages) == count > 8
    assert changes(course_of(messages, predicate)) == [False, True]
    (text,) = [m.message.data for m in messages if m.topic == 'task/text']
    assert text == TASK[scene].language
    sound = [decode_audio(m.message).wave for m in messages if m.topic == 'microphone/audio']
    assert np.concatenate(sound, axis=1).std() > 0
    marks = read_marks(path)
    assert json.loads(marks.pop('sensors'))['infrared'] == 'synthetic'
    assert marks == {
        'suite': 'metaworld',
        'split': 'train',
        'scene': scene,
        'seed': '4',
        'profile': 'live',
        'success': 'true',
    }


def test_equal_seeds_give_equal_bags(tmp_path: Path) -> None:
    contents = []
    for name, seed in (('a', 4), ('other', 5), ('b', 4)):
        record(plan(tmp_path / name, scene='button-press', seed=seed))
        messages = messages_of(tmp_path / name)
        contents.append([(m.topic, m.log_ns, m.raw) for m in messages])
    first, other, again = contents
    assert first == again
    assert first != other


def test_an_expert_that_did_not_get_there_is_recorded_as_such(tmp_path: Path) -> None:
    record(plan(tmp_path / 'bag', scene='door-open', duration_s=0.5))
    messages = messages_of(tmp_path / 'bag')
    assert read_marks(tmp_path / 'bag')['success'] == 'false'
    assert course_of(messages, 'open(door)') == [False] * 3
    assert messages[-1].log_ns - messages[0].log_ns < 0.6e9


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


def test_cli_records_one_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ('--suite', 'metaworld', '--scene', 'door-open', '--episodes', 1, '--workers', 1)
    assert cli.run(parse(*words, '--out', tmp_path, '--duration', 0.3, '--json')) == 0
    assert json.loads(capsys.readouterr().out)['bags'] == 1
    assert [path.name for path in tmp_path.iterdir()] == ['door-open_live_00000']


def test_cli_spreads_seeds_over_the_tasks(tmp_path: Path) -> None:
    arguments = parse('--suite', 'metaworld', '--episodes', 60, '--seed', 100, '--out', tmp_path)
    jobs = cli.plan_jobs(arguments)
    seeds = sorted(int(str(e['seed'])) for _, episodes in jobs for e in episodes)
    assert seeds == list(range(100, 160))
    assert {task.scene for task, _ in jobs} == set(TASK)
    assert all(isinstance(task, ExpertTask) and task.split == 'train' for task, _ in jobs)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--suite', 'metaworld', '--profile', 'train'), 'metaworld has live logs only'),
        (('--suite', 'metaworld', '--scene', 'garage'), "no scene of metaworld has 'garage'"),
        (('--suite', 'meta'), "unknown suite 'meta'.*libero_90.*metaworld"),
    ],
)
def test_cli_reports_impossible_options_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert status(*words, '--out', tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)


def test_cli_says_how_to_get_metaworld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'metaworld.policies', None)
    assert cli.run(parse('--suite', 'metaworld', '--out', tmp_path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'MetaWorld is not installed' in line
    assert 'make sim' in line
