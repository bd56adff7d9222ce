"""Recording of one contact episode: drawn, compiled, moved, and written as a bag."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np

from train.simulate.bag import EpisodeBag
from train.simulate.contact.arm import TICK_S, Arm, Recording
from train.simulate.contact.model import Look, compile_model
from train.simulate.contact.panda import HAND
from train.simulate.contact.scene import ContactCamera, ContactScene, ContactWorld
from train.simulate.contact.senses import measure_imu, measure_joints, measure_wrench
from train.simulate.contact.sound import contact_sound
from train.simulate.contact.tasks import TASKS, ContactTask, absent_facts, own_predicates
from train.simulate.contact.trial import Setup, Trial
from train.simulate.episode import EpisodePlan, marks
from train.simulate.touch import feel

SETTLE_TICKS = 100
EYE_M = np.array([0.5, -0.22, 0.32])  # of the camera, from what it looks at
FOVY_DEG = 32.0


def draw_trial(task: ContactTask, rng: np.random.Generator) -> Trial:
    """Draw an episode: shapes, materials, motion and outcome."""
    name = TASKS[task.task][0]
    trial: Trial = getattr(import_module(f'train.simulate.contact.{task.task}'), name)(
        rng, evaluation=task.split == 'evaluation'
    )
    return trial


def build_arm(trial: Trial, look: Look, *, visible: bool) -> Arm:
    """Compile an episode's model, and bring the arm to rest at its start."""
    setup = trial.setup
    model = compile_model(setup.parts, look, visible=visible, squeeze_n=setup.squeeze_n)
    arm = Arm(model, setup.tip, setup.stiffness)
    arm.place(setup.start, opening_m=setup.grip_m, wrist_rad=setup.wrist_rad)
    trial.prepare(arm)
    for _ in range(SETTLE_TICKS):
        arm.step(trial.command(0.0, arm))
    return arm


def record(plan: EpisodePlan) -> int:
    """Record one episode and write its bag.

    Pictures change nothing else: with equal seeds, all other messages are equal without them.

    Returns:
        Number of frames: stamps with ground truth.

    Raises:
        UnstableError: The physics became unstable.
    """
    assert isinstance(plan.task, ContactTask)
    seed = plan.world_seed
    trial = draw_trial(plan.task, np.random.default_rng(seed))
    arm = build_arm(trial, _draw_look(trial.setup, seed), visible=plan.pictures)
    ticks = round(min(plan.duration_s, trial.setup.duration_s) / TICK_S)
    recording = Recording.of(ticks)
    bag = EpisodeBag(plan.path, contact_marks(plan, trial, arm))
    bag.task(plan.task.language)
    photographer = Photographer(plan, trial, arm, bag) if plan.pictures else None
    try:
        frames = _run(plan, trial, arm, recording, bag, photographer)
    finally:
        if photographer is not None:
            photographer.close()
    _add_senses(bag, recording, trial, seed)
    bag.write()
    return frames


class Photographer:
    """Takes the pictures of an episode: camera, depth, regions and gel."""

    def __init__(self, plan: EpisodePlan, trial: Trial, arm: Arm, bag: EpisodeBag) -> None:
        scene = ContactScene(arm, getattr(trial, 'noun', ''))
        self._world = ContactWorld(scene, arm, np.random.default_rng([plan.world_seed, 1]))
        self._camera, self._bag = ContactCamera(scene), bag
        if plan.randomise:
            self._camera.jitter(self._world.rng)

    def close(self) -> None:
        """Free the rendering context."""
        self._camera.close()

    def look(self, now_s: float) -> None:
        """Add the pictures of this moment."""
        frame = self._camera.look(self._world, self._world.rng)
        self._bag.frame(now_s, frame, focal_px=self._camera.focal_px)
        self._bag.touch(now_s, feel(self._world, self._world.rng))
        self._bag.regions(now_s, frame.regions, self._camera.region_names)


def _run(
    plan: EpisodePlan,
    trial: Trial,
    arm: Arm,
    recording: Recording,
    bag: EpisodeBag,
    photographer: Photographer | None,
) -> int:
    assert isinstance(plan.task, ContactTask)
    absent = absent_facts(plan.task.task)
    frames, next_s = 0, 0.0
    for tick in range(len(recording.sensors)):
        now_s = tick * TICK_S
        arm.step(trial.command(now_s, arm))
        trial.watch(arm)
        arm.record(recording)
        if now_s + 1e-6 >= next_s:
            bag.truth(now_s, {**trial.truth(now_s, arm), **absent})
            if photographer is not None:
                photographer.look(now_s)
            frames += 1
            next_s += plan.frame_every_s
    return frames


def _add_senses(bag: EpisodeBag, recording: Recording, trial: Trial, seed: int) -> None:
    rng = np.random.default_rng([seed, 2])
    times = recording.times_s()
    bag.wrench(times, measure_wrench(recording, rng))
    joints = measure_joints(recording, rng)
    bag.joints(times, joints.names, (joints.position, joints.velocity, joints.effort))
    bag.imu(*measure_imu(recording, rng))
    bag.sound(0.0, contact_sound(recording, trial.shape, rng, seed=seed))


def _draw_look(setup: Setup, seed: int) -> Look:
    rng = np.random.default_rng([seed, 4])
    shade = tuple(rng.uniform(0.3, 0.8, 3).tolist())
    return Look(setup.focus + EYE_M, setup.focus, FOVY_DEG, float(rng.uniform(0.4, 0.7)), shade)


def contact_marks(plan: EpisodePlan, trial: Trial, arm: Arm) -> dict[str, str]:
    """Origin of a bag, with what was drawn; `predicates` are those that the task determines."""
    assert isinstance(plan.task, ContactTask)
    sensors = dict.fromkeys(('wrench', 'joints', 'imu'), 'simulated') | {'audio': 'synthetic'}
    if plan.pictures:
        sensors |= {'camera': 'rendered', 'touch': 'synthetic'}
    hand = arm.model.body(HAND)
    return marks(plan) | {
        'sensors': json.dumps(sensors),
        'shape': trial.shape,
        'outcome': trial.outcome,
        'predicates': json.dumps(own_predicates()[plan.task.task]),
        'hand_kg': f'{float(arm.model.body_subtreemass[hand.id]):.4f}',
    }
