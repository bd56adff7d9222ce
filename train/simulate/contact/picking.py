"""Picking up by friction: descend, close, lift, shake, and put down or let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.simulate.contact.arm import TICK_S, Arm, Pose
from train.simulate.contact.model import LEFT, RIGHT, SLIP, TOUCH
from train.simulate.contact.poses import Vector, pointing_down
from train.simulate.contact.trial import HELD_N, LOOSE_N, TOUCHED_N, UNTOUCHED_N, Trial

LIFTED_M = 0.01
DROPPED_M, EVENT_S = 0.03, 2.0
SLIPPING_M_S, STEADY_M_S = 0.005, 0.002
SMOOTH = 0.1  # of the slip velocity: a time constant of 20 ms
CARRIED_N = 0.05
PAD = (
    ('friction', '1 0.02 0.001'),
    ('condim', '4'),
)


@dataclass(frozen=True, slots=True)
class Motion:
    """The motion of one pick.

    Attributes:
        base: Position of the pads' centre at the grasp, metres, world frame.
        yaw: Turn of the hand, radians.
        above_m, wide_m: Initial height above `base`, and distance of each pad from the centre.
        wait_s, stay_s: Time at rest before the descent, and before closing.
        down_m_s, close_m_s, up_m_s: Speeds.
        closes: Whether the fingers close at all.
        lift_m, shake_m, shake_hz, tilt_rad: Height of the lift, and shaking after it.
        lower_s, open_s: Episode time at which the hand goes down again and opens; may be infinite.
    """

    base: Vector
    yaw: float
    above_m: float
    wide_m: float
    wait_s: float
    stay_s: float
    down_m_s: float
    close_m_s: float
    up_m_s: float
    closes: bool
    lift_m: float
    shake_m: float
    shake_hz: float
    tilt_rad: float
    lower_s: float
    open_s: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, base: Vector, *, above_m: float, half_width_m: float
    ) -> Motion:
        """Draw the motion for an object of a given half width."""
        still = rng.random() < 0.25
        lower_s = rng.uniform(5.8, 6.8) if rng.random() < 0.6 else np.inf
        return cls(
            base=base + np.array([*rng.uniform(-0.002, 0.002, 2), 0.0]),
            yaw=rng.uniform(-1.5, 1.5),
            above_m=above_m,
            wide_m=min(0.0393, half_width_m + rng.uniform(0.005, 0.012)),
            wait_s=rng.uniform(0.3, 0.7),
            stay_s=rng.uniform(0.25, 0.5),
            down_m_s=rng.uniform(0.08, 0.2),
            close_m_s=rng.uniform(0.03, 0.08),
            up_m_s=rng.uniform(0.06, 0.15),
            closes=True,
            lift_m=rng.uniform(0.05, 0.12),
            shake_m=0.0 if still else rng.uniform(0.005, 0.035),
            shake_hz=rng.uniform(0.6, 2.0),
            tilt_rad=0.0 if still else rng.uniform(0, 0.15),
            lower_s=lower_s,
            open_s=rng.uniform(7.1, 7.4) if rng.random() < 0.5 else np.inf,
        )


class Picking(Trial):
    """An episode in which the fingers pick something up from the table by friction.

    Subclasses set `motion` and `noun`, and name the object's body and its geoms `object`.

    Attributes:
        noun: Noun of the object in `holding(noun)`, or '' if there is nothing to pick.
        motion: The motion.
        carried_s: For how long the hand has carried the whole weight of the object.
    """

    noun: str
    motion: Motion
    carried_s: float = 0.0

    def prepare(self, arm: Arm) -> None:
        """Look up the object."""
        self._body = int(arm.model.body('object').id) if self.noun else -1
        self._phase, self._since_s = 'wait', 0.0
        self._down_m, self._up_m, self._shaken_s = 0.0, 0.0, 0.0
        self._slip = np.zeros(3)
        self._start_m = float(arm.data.xpos[self._body][2])
        self._carried_m, self._dropped_s, self._now_s = 0.0, -np.inf, 0.0

    def start_pose(self) -> Pose:
        """The initial pose of the hand."""
        position = self.motion.base + np.array([0.0, 0.0, self.motion.above_m])
        return Pose(position, pointing_down(self.motion.yaw))

    def command(self, now_s: float, arm: Arm) -> Pose:
        """The commanded pose of the point between the pads."""
        motion, since_s, self._now_s = self.motion, now_s - self._since_s, now_s
        if self._phase == 'wait':
            arm.opening_m = motion.wide_m
            if since_s > motion.wait_s:
                self._go('down', now_s)
        elif self._phase == 'down':
            self._down_m = min(motion.above_m, self._down_m + motion.down_m_s * TICK_S)
            if self._down_m == motion.above_m:
                self._go('stay', now_s)
        elif self._phase == 'stay':
            if since_s > motion.stay_s and motion.closes:
                self._go('close', now_s)
        elif self._phase == 'close':
            arm.opening_m = max(-0.01, motion.wide_m - since_s * motion.close_m_s)
            if arm.opening_m <= -0.01:
                self._go('lift', now_s)
        elif self._phase == 'lift':
            self._lift(now_s)
        elif self._phase == 'lower':
            self._up_m = max(0.0, self._up_m - motion.up_m_s * TICK_S)
        if now_s > motion.open_s and self._phase not in ('wait', 'down', 'stay'):
            arm.opening_m = min(motion.wide_m, (now_s - motion.open_s) * 0.1)
        return self._pose()

    def _lift(self, now_s: float) -> None:
        self._up_m = min(self.motion.lift_m, self._up_m + self.motion.up_m_s * TICK_S)
        if self._up_m == self.motion.lift_m:
            self._shaken_s += TICK_S
        if now_s > self.motion.lower_s:
            self._go('lower', now_s)

    def _go(self, phase: str, now_s: float) -> None:
        self._phase, self._since_s = phase, now_s

    def _pose(self) -> Pose:
        motion, shaken_s = self.motion, self._shaken_s
        grown = min(1.0, 2 * shaken_s) * np.sin(2 * np.pi * motion.shake_hz * shaken_s)
        sideways = motion.shake_m * grown if self._phase == 'lift' else 0.0
        tilt = motion.tilt_rad * min(1.0, shaken_s) * np.sin(np.pi * shaken_s)
        height_m = motion.above_m - self._down_m + self._up_m
        position = motion.base + np.array([0.0, sideways, height_m])
        return Pose(position, pointing_down(motion.yaw, tilt_x=float(tilt)))

    def watch(self, arm: Arm) -> None:
        """Follow the slip of the object, its height, and whether it falls."""
        if not self.noun:
            return
        sensors = arm.data.sensordata
        held = min(sensors[LEFT], sensors[RIGHT]) > HELD_N
        self._slip += (sensors[SLIP] - self._slip) * SMOOTH
        carried = held and sensors[TOUCH] < CARRIED_N
        self.carried_s = self.carried_s + TICK_S if carried else 0.0
        height_m = self.height_m(arm)
        if held:
            self._carried_m = height_m
        elif sensors[TOUCH] > TOUCHED_N and self._carried_m > DROPPED_M:
            self._dropped_s, self._carried_m = self._now_s, 0.0

    def height_m(self, arm: Arm) -> float:
        """Height of the object above its initial position, metres."""
        return float(arm.data.xpos[self._body][2]) - self._start_m

    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """See `docs/simulator.md`."""
        if not self.noun:
            nothing = ('holding', 'lifted', 'slipping', 'dropped')
            truth = {f'{name}(something)': False for name in nothing}
            truth['contact(gripper, something)'] = truth['contact(tool, something)'] = False
            return truth
        sensors = arm.data.sensordata
        pads = (float(sensors[LEFT]), float(sensors[RIGHT]))
        held, loose = min(pads) > HELD_N, max(pads) < LOOSE_N
        truth = {'dropped(something)': now_s - self._dropped_s < EVENT_S}
        if held or loose:
            truth[f'holding({self.noun})'] = truth['holding(something)'] = held
        if max(pads) > LOOSE_N or max(pads) < UNTOUCHED_N:
            truth['contact(gripper, something)'] = max(pads) > LOOSE_N
        lifted = held and self.height_m(arm) > LIFTED_M
        if loose or lifted or self.height_m(arm) < 0.5 * LIFTED_M:
            truth[f'lifted({self.noun})'] = truth['lifted(something)'] = lifted
        self._add_slip(truth, pads)
        outside_n = float(sensors[TOUCH]) if held else max(pads)
        if outside_n > TOUCHED_N or outside_n < UNTOUCHED_N:
            truth['contact(tool, something)'] = outside_n > TOUCHED_N
        return truth

    def _add_slip(self, truth: dict[str, bool], pads: tuple[float, float]) -> None:
        speed = float(np.hypot(self._slip[0], self._slip[2]))  # in the plane of the pads
        if max(pads) < UNTOUCHED_N or speed < STEADY_M_S:
            truth['slipping(something)'] = False
        elif min(pads) > LOOSE_N and speed > SLIPPING_M_S:
            truth['slipping(something)'] = True
