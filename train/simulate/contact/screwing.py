"""Screwing: a driver turns a screw until it is tight, then tries whether it gives."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from train.simulate.contact.arm import TICK_S, Arm, Pose, Stiffness
from train.simulate.contact.model import TOUCH, WORK, Parts, handle
from train.simulate.contact.poses import Workpiece, text
from train.simulate.contact.trial import Setup, Trial, colour, pedestal, tool_facts

HEAD_M = 0.01
TIGHT_N, UNTIGHT_N = 60.0, 5.0  # clamping force under the head
BINDING_NM = 0.2
SHAFT_M = 0.03
SITES = tuple(
    (0.03 * np.cos(angle), 0.03 * np.sin(angle)) for angle in np.arange(3) * 2 * np.pi / 3
)
OUTCOMES = {'tight': 0.5, 'loose': 0.24, 'cross': 0.13, 'stripped': 0.13}
# The thread: a stiff coupling of the screw's turn and travel.
THREAD = 'solref="0.004 1" solimp="0.99999 0.99999 0.001"'


@dataclass(frozen=True, slots=True)
class Kind:
    """Ranges of a kind of screw: head radius in metres, friction, friction of the thread in N m.

    `soft` is the time constant of the contact under the head, seconds.
    """

    radius_m: tuple[float, float]
    friction: tuple[float, float]
    thread_nm: tuple[float, float]
    soft: float


TRAINING = {
    'steel screw': Kind((0.006, 0.012), (0.15, 0.3), (0.01, 0.06), 0.006),
    'plastic cap': Kind((0.015, 0.03), (0.2, 0.45), (0.02, 0.12), 0.012),
    'brass screw': Kind((0.008, 0.016), (0.2, 0.35), (0.01, 0.06), 0.008),
}
EVALUATION = {
    'wood screw': Kind((0.005, 0.01), (0.3, 0.5), (0.1, 0.35), 0.012),
    'nylon screw': Kind((0.01, 0.02), (0.1, 0.25), (0.05, 0.2), 0.015),
}


class Screwing(Trial):
    """One episode; see `trial.Trial`."""

    own = ('screwed tight(screw)', 'cross threaded(screw)', 'stripped(screw)')

    def __init__(self, rng: np.random.Generator, *, evaluation: bool) -> None:
        kinds = EVALUATION if evaluation else TRAINING
        self.shape = str(rng.choice(list(kinds)))
        self.outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
        kind = kinds[self.shape]
        self._thread_nm = rng.uniform(*kind.thread_nm)
        self._pitch_m, self._seat = rng.uniform(0.001, 0.004), rng.uniform(0.8, 2.8)
        self._work = Workpiece.draw(rng, most_tilt=0.3)
        self._yaw = rng.uniform(-3.1, -2.5)
        self._draw_motion(rng)
        self.setup = Setup(
            parts=self._parts(rng, kind),
            start=Pose(self._work.origin, self._work.tool(self._yaw)),
            focus=self._work.origin,
            grip_m=0.009,
            stiffness=Stiffness(rng.uniform(400, 1000), rng.uniform(15, 50)),
            squeeze_n=rng.uniform(10, 40),
            duration_s=6.0,
            tip='tip',
            wrist_rad=0.785 + self._yaw,
        )

    def _draw_motion(self, rng: np.random.Generator) -> None:
        self._wait_s, self._rate = rng.uniform(0.3, 0.8), rng.uniform(0.7, 2.5)
        soft = 0.6 if self.shape == 'plastic cap' else 1.0
        self._limit_nm = rng.uniform(0.6, 2.5) * soft
        part = rng.uniform(0.2, 0.85)
        self._end = part * self._seat if self.outcome == 'loose' else 4.0
        self._relaxes = rng.random() < 0.5
        self._try_rad, self._try_hz = rng.uniform(0.05, 0.2), rng.uniform(0.6, 2.0)
        self._strips_n, self._binds_nm = rng.uniform(20, 80), rng.uniform(0.4, 1.2)
        self._angle = self._held_angle = 0.0
        self._held_s: float | None = None
        self._resting_nm: float | None = None

    def _parts(self, rng: np.random.Generator, kind: Kind) -> Parts:
        radius, friction = rng.uniform(*kind.radius_m), rng.uniform(*kind.friction)
        gap = self._pitch_m / (2 * np.pi) * self._seat
        gap += 0.02 if self.outcome == 'cross' else 0.0  # binds before it is seated
        mass, tint, metal, plate = rng.uniform(0.03, 0.15), colour(rng), colour(rng), colour(rng)
        contact = (
            f'contype="{WORK}" conaffinity="{WORK}" group="1" friction="{friction:.3f} 0.001 '
            f'0.0001" solref="{kind.soft} 1" solimp="0.9 0.95 0.001"'
        )
        tool = (
            f'<body name="driver" pos="0 0 {SHAFT_M}">'
            f'<geom type="cylinder" size="0.004 {SHAFT_M / 2}" pos="0 0 {-SHAFT_M / 2}" '
            f'mass="{mass:.4f}" group="1" rgba="{metal} 1"/>'
            f'<site name="tip"/>{_corners("driver")}</body>' + handle(0.009, 0.03, colour=tint)
        )
        pose = f'pos="{text(self._work.origin)}" quat="{text(self._work.tool(self._yaw))}"'
        world = f"""<body name="screw" {pose}>
            <joint name="travel" type="slide" axis="0 0 1" damping="50" armature="30"/>
            <joint name="turn" type="hinge" axis="0 0 1" damping="0.005" armature="0.02"
                frictionloss="{self._thread_nm:.4f}"/>
            {_corners('screw')}<site name="screw_touch" type="sphere" size="1"/>
            <site name="rim" pos="{radius} 0 0"/>
            <geom type="cylinder" size="{radius} {HEAD_M / 2}" pos="0 0 {HEAD_M / 2}" mass="0.05"
                rgba="{metal} 1" condim="3" {contact}/></body>
        <body name="plate" {pose}>
            <geom type="box" size="0.06 0.06 0.02" pos="0 0 {HEAD_M + gap + 0.02}"
                rgba="{plate} 1" {contact}/></body>
        {pedestal(self._work, HEAD_M + gap + 0.04, colour(rng))}"""
        connected = ''.join(
            f'<connect site1="driver{k}" site2="screw{k}" solref="0.01 1"/>' for k in range(3)
        )
        ratio = self._pitch_m / (2 * np.pi)
        thread = (
            f'<joint name="thread" joint1="travel" joint2="turn" polycoef="0 {ratio} 0 0 0" '
            f'{THREAD}/>'
        )
        return Parts(tool, world, touch='screw_touch', slide='rim', constraints=thread + connected)

    def prepare(self, arm: Arm) -> None:
        """Look up the joint and the thread."""
        turn = arm.model.joint('turn')
        self._turn, self._dof = int(turn.qposadr[0]), int(turn.dofadr[0])
        kind = mujoco.mjtObj.mjOBJ_EQUALITY
        self._thread = int(mujoco.mj_name2id(arm.model, kind, 'thread'))

    def command(self, now_s: float, arm: Arm) -> Pose:
        """Turn up to a torque or an angle, then turn back and forth."""
        arm.opening_m = -0.01
        self._bind(arm)
        turned = float(arm.data.qpos[self._turn])
        angle = self._angle
        if now_s >= self._wait_s:
            angle = self._turning(now_s, turned, float(arm.data.sensordata[5]))
        down = np.array([0.0, 0.0, -self._pitch_m / (2 * np.pi) * turned])
        return Pose(self._work.to_world(down), self._work.tool(self._yaw + angle))

    def _turning(self, now_s: float, turned: float, torque_nm: float) -> float:
        if self._resting_nm is None:
            self._resting_nm = torque_nm
        if self._held_s is None:
            self._angle += self._rate * TICK_S
            if abs(torque_nm - self._resting_nm) > self._limit_nm or self._angle > self._end:
                self._held_s, self._held_angle = now_s, turned
            return self._angle
        since_s = now_s - self._held_s - 0.25
        if since_s < 0:
            return self._angle
        angle = self._angle
        if self._relaxes:
            angle += (self._held_angle - angle) * min(1.0, 4 * since_s)
        swing = self._try_rad * min(1.0, 3 * since_s)
        return float(angle + swing * np.sin(2 * np.pi * self._try_hz * since_s))

    def _bind(self, arm: Arm) -> None:
        """A crossed thread binds more with every turn; a stripped one gives way once."""
        loss = arm.model.dof_frictionloss
        if self.outcome == 'cross':
            turned = float(np.clip(arm.data.qpos[self._turn], 0, 1))
            loss[self._dof] = self._thread_nm + self._binds_nm * turned
        elif self.outcome == 'stripped' and arm.data.sensordata[TOUCH] > self._strips_n:
            arm.data.eq_active[self._thread] = 0
            loss[self._dof] = 0.7 * self._thread_nm

    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """See `docs/simulator.md`."""
        truth = tool_facts(arm, 'driver')
        truth['contact(tool, something)'] = True  # the driver stays in the screw
        clamped_n = float(arm.data.sensordata[TOUCH])
        stripped = not arm.data.eq_active[self._thread]
        truth['stripped(screw)'] = stripped
        if stripped or clamped_n < UNTIGHT_N or clamped_n > TIGHT_N:
            truth['screwed tight(screw)'] = not stripped and clamped_n > TIGHT_N
        if self.outcome != 'cross':
            truth['cross threaded(screw)'] = False
        elif arm.model.dof_frictionloss[self._dof] - self._thread_nm > BINDING_NM:
            truth['cross threaded(screw)'] = True
        return truth


def _corners(name: str) -> str:
    """Three sites by which the driver holds the screw."""
    return ''.join(f'<site name="{name}{k}" pos="{x} {y} 0"/>' for k, (x, y) in enumerate(SITES))
