"""The contact suite: physics that agrees with its ground truth, and bags that agree with both."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from train.bags.find import EvaluationDataError, refuse_evaluation_bags
from train.bags.folder import read_marks
from train.bags.reader import BagMessage, BagReport, read_bag
from train.phrasings import Fact
from train.simulate.contact import grasping, insertion, rubbing, screwing
from train.simulate.contact.arm import JOINTS, TICK_S, Arm, Recording, UnstableError
from train.simulate.contact.episode import build_arm, draw_trial, record
from train.simulate.contact.filling import EVALUATION as EVALUATION_CUPS
from train.simulate.contact.filling import TRAINING as TRAINING_CUPS
from train.simulate.contact.filling import Filling
from train.simulate.contact.model import ACCELERATION, FORCE, LEFT, RIGHT, Look
from train.simulate.contact.senses import IMU_HZ, measure_imu, measure_joints, measure_wrench
from train.simulate.contact.tasks import (
    TASKS,
    ContactTask,
    absent_facts,
    list_contact_tasks,
    own_predicates,
)
from train.simulate.contact.trial import Trial
from train.simulate.episode import EpisodePlan

pytestmark = pytest.mark.sim

GRAVITY = 9.81
LOOK = Look(np.array([1.0, -0.3, 0.5]), np.array([0.5, 0.0, 0.1]), 32.0, 0.6, (0.5, 0.5, 0.5))
Truths = list[dict[str, bool]]


def draw(suite: str, task: str, seed: int) -> Trial:
    return draw_trial(ContactTask(suite, task), np.random.default_rng(seed))


def seed_of(task: str, outcome: str, *, start: int = 0) -> int:
    """The first seed that draws an outcome."""
    for seed in range(start, start + 300):
        if draw('contact', task, seed).outcome == outcome:
            return seed
    raise AssertionError(f'{task} draws no {outcome}')


@lru_cache(maxsize=16)
def rollout(task: str, outcome: str) -> tuple[Trial, Arm, Recording, Truths]:
    """One episode with an outcome, with its truth at 50 Hz."""
    trial = draw('contact', task, seed_of(task, outcome))
    arm = build_arm(trial, LOOK, visible=False)
    ticks = round(trial.setup.duration_s / TICK_S)
    recording, truths = Recording.of(ticks), []
    for tick in range(ticks):
        arm.step(trial.command(tick * TICK_S, arm))
        trial.watch(arm)
        arm.record(recording)
        if tick % 10 == 0:
            truths.append(trial.truth(tick * TICK_S, arm))
    return trial, arm, recording, truths


def share(truths: Truths, predicate: str, value: bool) -> float:
    """Part of the episode in which a predicate is known to have a value."""
    return sum(truth.get(predicate) is value for truth in truths) / len(truths)


def first(truths: Truths, predicate: str) -> int:
    """Index of the first truth in which a predicate holds."""
    return next(k for k, truth in enumerate(truths) if truth.get(predicate))


def hand_kg(arm: Arm) -> float:
    return float(arm.model.body_subtreemass[arm.model.body('right_gripper').id])


def test_a_peg_touches_before_it_is_inserted_and_then_stays() -> None:
    _, _, _, truths = rollout('insertion', 'inserted')
    assert truths[0]['contact(tool, something)'] is False
    assert truths[0]['inserted(peg)'] is False
    assert first(truths, 'contact(tool, something)') < first(truths, 'inserted(peg)')
    assert share(truths, 'jammed(peg)', True) == 0
    assert share(truths, 'holding(peg)', True) == 1


@pytest.mark.parametrize('outcome', ['blocked', 'missed'])
def test_a_peg_that_is_stopped_is_jammed_and_never_inserted(outcome: str) -> None:
    _, _, _, truths = rollout('insertion', outcome)
    assert share(truths, 'inserted(peg)', True) == 0
    assert share(truths, 'jammed(peg)', True) > 0.1
    assert first(truths, 'contact(tool, something)') < first(truths, 'jammed(peg)')


def test_a_peg_left_halfway_is_neither_inserted_nor_jammed() -> None:
    _, _, _, truths = rollout('insertion', 'halfway')
    assert share(truths, 'inserted(peg)', True) == share(truths, 'jammed(peg)', True) == 0


@pytest.mark.parametrize(
    ('outcome', 'predicate'),
    [
        ('tight', 'screwed tight(screw)'),
        ('cross', 'cross threaded(screw)'),
        ('stripped', 'stripped(screw)'),
    ],
)
def test_a_screw_ends_as_drawn_after_it_was_turned(outcome: str, predicate: str) -> None:
    _, _, _, truths = rollout('screwing', outcome)
    assert not truths[0].get(predicate)
    assert truths[-1][predicate] is True
    others = {'screwed tight(screw)', 'cross threaded(screw)', 'stripped(screw)'} - {predicate}
    assert not any(truths[-1].get(other) for other in others)


def test_a_loose_screw_is_never_tight() -> None:
    _, _, _, truths = rollout('screwing', 'loose')
    assert share(truths, 'screwed tight(screw)', False) == 1


def test_tightening_is_felt_as_torque_about_the_tool() -> None:
    _, _, tight, _ = rollout('screwing', 'tight')
    _, _, loose, _ = rollout('screwing', 'loose')
    assert np.ptp(tight.sensors[:, 5]) > 3 * np.ptp(loose.sensors[:, 5])


def test_a_cup_stands_on_the_table_is_lifted_and_its_content_known_only_then() -> None:
    _, _, _, truths = rollout('filling', 'full')
    assert truths[0]['holding(cup)'] is truths[0]['lifted(cup)'] is False
    assert 'full(cup)' not in truths[0]
    order = [first(truths, f'{relation}(cup)') for relation in ('holding', 'lifted', 'full')]
    assert order == sorted(order)
    assert share(truths, 'full(cup)', True) > 0.3
    assert share(truths, 'empty(cup)', True) == share(truths, 'half full(cup)', True) == 0


@pytest.mark.parametrize('outcome', ['empty', 'full'])
def test_the_wrist_carries_the_weight_of_a_lifted_cup(outcome: str) -> None:
    trial, arm, recording, truths = rollout('filling', outcome)
    assert isinstance(trial, Filling)
    carried = [10 * k for k, truth in enumerate(truths) if f'{outcome}(cup)' in truth]
    force_n = float(np.linalg.norm(recording.sensors[carried][:, FORCE].mean(axis=0)))
    assert force_n == pytest.approx((hand_kg(arm) + trial.weight_kg) * GRAVITY, rel=0.05)


def test_a_full_cup_is_heavier_than_the_same_cup_empty() -> None:
    trial, _, full, _ = rollout('filling', 'full')
    _, _, empty, _ = rollout('filling', 'empty')
    assert isinstance(trial, Filling)
    assert full.sensors[:, 2].min() < empty.sensors[:, 2].min() - 0.5


@pytest.mark.parametrize('outcome', ['rough', 'smooth'])
def test_a_surface_is_known_while_it_is_stroked(outcome: str) -> None:
    _, _, _, truths = rollout('rubbing', outcome)
    assert 'rough(surface)' not in truths[0]
    known = [k for k, truth in enumerate(truths) if 'rough(surface)' in truth]
    assert len(known) > 20
    assert {truths[k]['rough(surface)'] for k in known} == {outcome == 'rough'}
    assert first(truths, 'contact(tool, something)') < known[0]


def test_a_rough_surface_trembles_more_than_a_smooth_one() -> None:
    trembling = {}
    for outcome in ('rough', 'smooth'):
        _, _, recording, truths = rollout('rubbing', outcome)
        known = [10 * k for k, truth in enumerate(truths) if 'rough(surface)' in truth]
        force = recording.sensors[known[0] : known[-1], FORCE]
        trembling[outcome] = float(np.abs(np.diff(force, axis=0)).mean())
    assert trembling['rough'] > 2 * trembling['smooth']


def test_what_is_grasped_is_held_then_lifted() -> None:
    _, _, recording, truths = rollout('grasping', 'held')
    assert truths[0]['holding(something)'] is False
    assert first(truths, 'holding(something)') < first(truths, 'lifted(something)')
    lifted = 10 * first(truths, 'lifted(something)')
    assert recording.sensors[lifted, [LEFT, RIGHT]].min() > 1


def test_fingers_that_close_on_nothing_feel_nothing() -> None:
    _, _, recording, truths = rollout('grasping', 'nothing')
    assert share(truths, 'holding(something)', False) == 1
    assert not recording.sensors[:, [LEFT, RIGHT]].any()


def test_a_weak_grip_slips() -> None:
    _, _, _, truths = rollout('grasping', 'lost')
    assert share(truths, 'slipping(something)', True) > 0
    assert truths[-1].get('holding(something)') is not True


def test_forces_stay_those_of_a_careful_robot() -> None:
    for task, outcome in (('insertion', 'inserted'), ('filling', 'full'), ('rubbing', 'rough')):
        _, _, recording, _ = rollout(task, outcome)
        assert np.abs(recording.sensors[:, FORCE]).max() < 80


def test_at_rest_the_wrist_shows_the_weight_of_hand_and_tool_along_gravity() -> None:
    _, arm, recording, _ = rollout('insertion', 'blocked')
    wrench = measure_wrench(recording, np.random.default_rng(0))
    at_rest = wrench[: round(0.25 / TICK_S), :3].mean(axis=0)
    assert np.linalg.norm(at_rest) == pytest.approx(hand_kg(arm) * GRAVITY, abs=1.0)
    assert at_rest[2] > 0.9 * np.linalg.norm(at_rest)  # the sensor's z axis points along the tool


def test_at_rest_the_imu_shows_gravity_upwards() -> None:
    _, _, recording, _ = rollout('filling', 'full')
    times, rate, acceleration = measure_imu(recording, np.random.default_rng(0))
    assert np.diff(times) == pytest.approx(1 / IMU_HZ)
    still = acceleration[:40].mean(axis=0)
    assert still == pytest.approx([0, 0, GRAVITY], abs=0.2)
    assert np.abs(rate[:40].mean(axis=0)).max() < 0.02
    raw = recording.sensors[0, ACCELERATION]
    assert raw == pytest.approx([0, 0, GRAVITY], abs=0.05)


def test_joints_come_in_any_order_with_the_gripper_among_them() -> None:
    _, _, recording, _ = rollout('filling', 'full')
    orders = set()
    for seed in range(5):
        joints = measure_joints(recording, np.random.default_rng(seed))
        orders.add(joints.names)
        columns = [joints.names.index(f'panda_joint{n}') for n in range(1, JOINTS + 1)]
        assert joints.position[:, columns] == pytest.approx(recording.position[:, :7], abs=1e-3)
        finger = joints.position[:, joints.names.index('panda_finger_joint2')]
        assert finger.min() > -0.002
    assert len(orders) == 5


def test_shapes_for_evaluation_are_none_of_those_for_training() -> None:
    for training, evaluation in (
        (insertion.TRAINING, insertion.EVALUATION),
        (screwing.TRAINING, screwing.EVALUATION),
        (TRAINING_CUPS, EVALUATION_CUPS),
        (rubbing.TRAINING, rubbing.EVALUATION),
        (grasping.TRAINING, grasping.EVALUATION),
    ):
        assert not set(training) & set(evaluation)
    for task in TASKS:
        shapes = [
            {draw(suite, task, seed).shape for seed in range(40)}
            for suite in ('contact', 'contact_eval')
        ]
        assert not shapes[0] & shapes[1]


def test_what_is_absent_is_false_and_what_a_task_has_is_its_own() -> None:
    for task, own in own_predicates().items():
        assert not set(absent_facts(task)) & set(own)
        assert not any(absent_facts(task).values())
    assert 'rough(surface)' in absent_facts('insertion')
    for predicate in (*absent_facts('insertion'), *own_predicates()['insertion']):
        assert Fact.parse(predicate).arguments


def test_an_unstable_episode_is_an_error() -> None:
    _, arm, _, _ = rollout('filling', 'empty')
    arm.data.qvel[0] = 100.0
    with pytest.raises(UnstableError, match='unstable physics'):
        arm.record(Recording.of(1))
    rollout.cache_clear()  # this arm is broken


def plan(path: Path, *, seed: int = 3, task: str = 'grasping', **changes: object) -> EpisodePlan:
    fields = {'duration_s': 0.6, 'pictures': False, 'suite': 'contact'} | changes
    return EpisodePlan(
        task=ContactTask(str(fields.pop('suite')), task),
        seed=seed,
        profile='live',
        frame_every_s=0.1,
        randomise=True,
        path=path,
        **fields,  # type: ignore[arg-type]
    )


def by_topic(path: Path) -> dict[str, list[BagMessage]]:
    report, found = BagReport(path), defaultdict(list)
    for message in read_bag(path, report=report):
        found[message.topic].append(message)
    assert not report.problems
    return dict(found)


def doubles(vector: object) -> NDArray[np.float64]:
    return np.array([getattr(vector, axis) for axis in 'xyz'])


def test_a_bag_without_pictures_has_every_other_sense(tmp_path: Path) -> None:
    assert record(plan(tmp_path / 'a')) == 6
    found = by_topic(tmp_path / 'a')
    types = {topic: messages[0].type_name for topic, messages in found.items()}
    assert types == {
        'wrist/wrench': 'geometry_msgs/msg/WrenchStamped',
        'joint_states': 'sensor_msgs/msg/JointState',
        'imu/data': 'sensor_msgs/msg/Imu',
        'microphone/audio': 'lb_ros/msg/AudioChunk',
        'task/text': 'std_msgs/msg/String',
        'ground_truth/predicates': 'lb_ros/msg/PredicateTruth',
    }
    for topic, hertz in (('wrist/wrench', 500), ('joint_states', 500), ('imu/data', IMU_HZ)):
        stamps = np.array([message.stamp_ns for message in found[topic]])
        assert np.diff(stamps).tolist() == [1_000_000_000 // hertz] * (len(stamps) - 1), topic
        assert len(stamps) == round(0.6 * hertz)


def test_messages_hold_what_was_measured(tmp_path: Path) -> None:
    record(plan(tmp_path / 'a'))
    found = by_topic(tmp_path / 'a')
    weight_n = float(read_marks(tmp_path / 'a')['hand_kg']) * GRAVITY
    wrench, imu = found['wrist/wrench'][50], found['imu/data'][20].message
    assert doubles(wrench.message.wrench.force)[2] == pytest.approx(weight_n, abs=1.5)
    assert np.abs(doubles(wrench.message.wrench.torque)).max() < 0.2
    assert wrench.message.header.frame_id == 'wrist_ft'
    assert doubles(imu.linear_acceleration) == pytest.approx([0, 0, GRAVITY], abs=0.5)
    assert np.abs(doubles(imu.angular_velocity)).max() < 0.1
    assert imu.orientation_covariance[0] == -1
    joints = found['joint_states'][50].message
    assert sorted(joints.name) == sorted(found['joint_states'][0].message.name)
    assert len(joints.position) == len(joints.velocity) == len(joints.effort) == 9
    fingers = [p for n, p in zip(joints.name, joints.position, strict=True) if 'finger' in n]
    assert 0.01 < fingers[0] == pytest.approx(fingers[1], abs=1e-3)
    assert np.abs(joints.velocity).max() < 0.1


def contents(path: Path, *, without: tuple[str, ...] = ()) -> list[tuple[str, int, bytes]]:
    return [(m.topic, m.log_ns, m.raw) for m in read_bag(path) if m.topic not in without]


def test_equal_seeds_give_equal_bags_and_pictures_change_nothing_else(tmp_path: Path) -> None:
    for name, seed, pictures in (('a', 3, False), ('b', 3, True), ('c', 3, True), ('d', 4, False)):
        record(plan(tmp_path / name, seed=seed, pictures=pictures, duration_s=0.3))
    seen = by_topic(tmp_path / 'b')
    pictures = (
        'camera/image/compressed',
        'camera/camera_info',
        'depth/image/compressedDepth',
        'touch/image',
        'ground_truth/regions',
    )
    assert set(pictures) < set(seen)
    assert 'infrared/image' not in seen
    assert contents(tmp_path / 'b') == contents(tmp_path / 'c')
    assert contents(tmp_path / 'b', without=pictures) == contents(tmp_path / 'a')
    assert contents(tmp_path / 'a') != contents(tmp_path / 'd')


def test_evaluation_bags_are_refused_for_training(tmp_path: Path) -> None:
    record(plan(tmp_path / 'train', duration_s=0.1))
    record(plan(tmp_path / 'kept', duration_s=0.1, suite='contact_eval'))
    refuse_evaluation_bags([tmp_path / 'train'])
    with pytest.raises(EvaluationDataError, match='contact_eval'):
        refuse_evaluation_bags([tmp_path / 'kept'])


def test_marks_say_what_was_drawn_and_what_is_synthetic(tmp_path: Path) -> None:
    record(plan(tmp_path / 'a', task='screwing', duration_s=0.1))
    marks = read_marks(tmp_path / 'a')
    assert json.loads(marks['sensors']) == {
        'wrench': 'simulated',
        'joints': 'simulated',
        'imu': 'simulated',
        'audio': 'synthetic',
    }
    assert (marks['suite'], marks['split'], marks['scene']) == (
        'contact',
        'train',
        'contact_screwing',
    )
    assert marks['outcome'] in screwing.OUTCOMES
    assert json.loads(marks['predicates']) == list(own_predicates()['screwing'])


def test_suites_list_the_five_tasks() -> None:
    for suite, split in (('contact', 'train'), ('contact_eval', 'evaluation')):
        tasks = list_contact_tasks(suite)
        assert [task.task for task in tasks] == list(TASKS)
        assert {task.split for task in tasks} == {split}
    with pytest.raises(ValueError, match='contact_eval'):
        list_contact_tasks('contact_other')
