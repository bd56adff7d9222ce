"""MetaWorld's expert in motion, and the sounds of its motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.simulate.metaworld.scene import ExpertScene, Touch
from train.simulate.scene import Joint, Vector
from train.simulate.world import IMPACT_GAP_S, IMPACT_M_S, Heat, SoundEvent

BEFORE_S = 1.0  # at rest, for comparison
AFTER_SUCCESS_S = 1.0  # experts do not stop: later they push on, or release what they hold
REST = np.array([0.0, 0.0, 0.0, -1.0])  # no motion, fingers open
MOVING_M_S = 0.05
FULL_SPEED_M_S = 0.8
SLIDING_PER_S = 0.3
SHORTEST_SOUND_S = 0.1
AT_END = 0.04  # share of a joint's travel
AWAY_FROM_END = 0.15
# Voices of a joint at its closed and at its opened end; an opening door has no stop.
END_VOICES = {
    'drawer': ('thud', 'thud'),
    'door': ('latch', ''),
    'handle': ('thud', 'thud'),
    'button': ('click', 'click'),
    'lock': ('click', 'click'),
}
SHUTS = ('drawer', 'door')


@dataclass(slots=True)
class Stretch:
    """Motion in progress: its start and greatest speed so far."""

    begun_s: float
    peak: float


class ExpertWorld:
    """A scene of MetaWorld moved by its expert.

    Attributes:
        scene: The scene.
        rng: Source of all randomness except the layout of the task.
        now_s: Episode time.
        info: MetaWorld's `info` of the last step.
        succeeded_s: Time at which MetaWorld first reported success.
        sounds: All sounds so far.
        events: `(predicate, time)` of all events so far: shuts.
        heat: Ambient temperatures, because there is no stove.
        touch: Parts of the gripper that touch the handled part.
        touched_s: Time of the last contact.
        start: Initial position of the object, metres, world frame.
        start_z_m: Initial height of its body.
    """

    def __init__(self, scene: ExpertScene, rng: np.random.Generator) -> None:
        from metaworld.policies import ENV_POLICY_MAP

        self.scene, self.rng = scene, rng
        self.now_s = 0.0
        self.info: Mapping[str, Any] = {}
        self.succeeded_s: float | None = None
        self.sounds: list[SoundEvent] = []
        self.events: list[tuple[str, float]] = []
        self.heat = Heat()
        self.touch = Touch()
        self.touched_s = -np.inf
        self._note_start()
        self._expert = ENV_POLICY_MAP[f'{scene.task.scene}-v3']()
        self._stretches: dict[str, Stretch] = {}
        self._openings = {joint.noun: scene.joint_position(joint) for joint in self._joints}
        self._armed = {joint.noun: [False, False] for joint in self._joints}

    @property
    def _joints(self) -> list[Joint]:
        return list(self.scene.joints.values())

    def stove_is_on(self) -> bool:
        """Always False: there is no stove."""
        return False

    def object_position(self) -> Vector:
        """Position of the task's object according to MetaWorld, metres, world frame."""
        return np.array(self.scene.env._get_pos_objects()[:3], np.float64)

    def is_over(self) -> bool:
        """Whether `AFTER_SUCCESS_S` have passed since success, or MetaWorld's time has run out."""
        env = self.scene.env
        if env.curr_path_length >= env.max_path_length:
            return True
        return self.succeeded_s is not None and self.now_s > self.succeeded_s + AFTER_SUCCESS_S

    def step(self) -> None:
        """Perform one action of the expert (80 per second)."""
        scene, step_s = self.scene, float(self.scene.env.dt)
        hand_before, velocity_before = self._hand(), self._velocity()
        is_resting = self.now_s < BEFORE_S
        action = REST if is_resting else self._expert.get_action(scene.observation.copy())
        result = scene.env.step(np.clip(action, -1, 1))
        scene.observation, self.info = result[0], result[4]
        self.now_s += step_s
        if is_resting:  # some things first fall into place
            self._note_start()
        if self.succeeded_s is None and self.info['success']:
            self.succeeded_s = self.now_s
        self.touch = scene.touch()
        if self.touch != Touch():
            self.touched_s = self.now_s
        hand_m_s = float(np.linalg.norm(self._hand() - hand_before)) / step_s
        self._hear_motion('motor', hand_m_s / FULL_SPEED_M_S, MOVING_M_S / FULL_SPEED_M_S)
        for joint in self._joints:
            self._hear_joint(joint, step_s)
        self._hear_impact(velocity_before, step_s)

    def finish(self) -> None:
        """End the sounds of motion in progress."""
        for voice in tuple(self._stretches):
            self._hear_motion(voice, 0.0, 1.0)

    def _note_start(self) -> None:
        self.start = self.object_position()
        self.start_z_m = float(self.scene.data.xpos[self.scene.part][2])

    def _hand(self) -> Vector:
        return np.array(self.scene.env.tcp_center)

    def _velocity(self) -> Vector:
        dofs = [thing.dof for thing in self.scene.things]
        return np.array([self.scene.data.qvel[dof : dof + 3] for dof in dofs])

    def _hear_motion(self, voice: str, speed: float, moving: float) -> None:
        """Add one sound for every continuous motion when it ends; speeds are 0..1 and above."""
        if speed > moving:
            stretch = self._stretches.setdefault(voice, Stretch(self.now_s, speed))
            stretch.peak = max(stretch.peak, speed)
        elif voice in self._stretches:
            stretch = self._stretches.pop(voice)
            length_s = self.now_s - stretch.begun_s
            if length_s > SHORTEST_SOUND_S:
                strength = float(np.clip(stretch.peak, 0.1, 1.0))
                self.sounds.append(SoundEvent(voice, stretch.begun_s, strength, length_s))

    def _hear_joint(self, joint: Joint, step_s: float) -> None:
        opening = self.scene.joint_position(joint)
        speed = abs(opening - self._openings[joint.noun]) / step_s
        self._openings[joint.noun] = opening
        if joint.kind == 'drawer':
            self._hear_motion('slide', speed, SLIDING_PER_S)
        for end, distance in enumerate((opening, 1.0 - opening)):
            if distance > AWAY_FROM_END:
                self._armed[joint.noun][end] = True
            elif distance < AT_END and self._armed[joint.noun][end]:
                self._armed[joint.noun][end] = False
                voice = END_VOICES[joint.kind][end]
                strength = float(np.clip(speed, 0.2, 1.0))
                self.sounds += [SoundEvent(voice, self.now_s, strength)] if voice else []
                if end == 0 and joint.kind in SHUTS:
                    self.events.append((f'shut({joint.noun})', self.now_s))

    def _hear_impact(self, before: Vector, step_s: float) -> None:
        if len(before) == 0 or (self.touch.left and self.touch.right):
            return
        gravity = np.array(self.scene.model.opt.gravity) * step_s
        change_m_s = float(np.linalg.norm(self._velocity()[0] - before[0] - gravity))
        name = self.scene.task.noun
        last_s = max((s.at_s for s in self.sounds if s.source == name), default=-1.0)
        if change_m_s > IMPACT_M_S and self.now_s - last_s > IMPACT_GAP_S:
            strength = min(1.0, change_m_s / 2.5)
            self.sounds.append(SoundEvent('impact', self.now_s, strength, source=name))
