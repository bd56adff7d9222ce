"""Rubbing: a rounded stylus strokes a smooth or a rough surface under a constant force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from train.simulate.contact.arm import TICK_S, Arm, Pose, Stiffness
from train.simulate.contact.model import SLIDE, TOUCH, WORK, Parts, handle
from train.simulate.contact.poses import Workpiece, text
from train.simulate.contact.trial import Setup, Trial, colour, pedestal, tool_facts

TRAINING = ('noise', 'ridges', 'bumps')
EVALUATION = ('weave', 'scratches', 'grit')
TRAINING_TIPS, EVALUATION_TIPS = ('sphere', 'capsule'), ('ellipsoid', 'sphere')
REACH_M = 0.05  # half the length of the textured surface
STROKE_M = 0.09
RIDGE_M = 0.0015
SLIDING_M_S, SLIDING_N = 0.01, 0.2
FELT_S, ALOFT_S = 0.4, 0.06
CONTROL_S = 0.1
# Harder than elsewhere, so that relief of a tenth of a millimetre is felt.
CONTACT = 'solref="0.006 1" solimp="0.01 0.95 0.0003" condim="3"'


class Rubbing(Trial):
    """One episode; see `trial.Trial`."""

    own = ('rough(surface)',)

    def __init__(self, rng: np.random.Generator, *, evaluation: bool) -> None:
        self.shape = str(rng.choice(EVALUATION if evaluation else TRAINING))
        tip = str(rng.choice(EVALUATION_TIPS if evaluation else TRAINING_TIPS))
        self._rough = rng.random() < 0.5
        self.outcome = 'rough' if self._rough else 'smooth'
        # No surface is perfect: a smooth one has relief of up to 0.02 mm.
        self._relief_m = rng.uniform(0.00015, 0.0006) if self._rough else rng.uniform(0, 0.00002)
        self._work = Workpiece.draw(rng, most_tilt=0.3)
        self._yaw = rng.uniform(-1.0, 1.0)
        self._draw_motion(rng)
        parts = self._parts(rng, tip)
        self.setup = Setup(
            parts=parts,
            start=self._pose(),
            focus=self._work.origin,
            grip_m=0.006,
            stiffness=Stiffness(rng.uniform(500, 1300), rng.uniform(20, 50)),
            squeeze_n=rng.uniform(10, 40),
            duration_s=6.0,
            tip='tip',
        )

    def _draw_motion(self, rng: np.random.Generator) -> None:
        self._aside_m = rng.uniform(-0.008, 0.008)
        self._height_m = self._relief_m + rng.uniform(0.005, 0.015)
        self._force_n, self._speed = rng.uniform(1.5, 8), rng.uniform(0.025, 0.12)
        self._wait_s, self._approach = rng.uniform(0.3, 0.7), rng.uniform(0.01, 0.03)
        self._pause_s = rng.uniform(2.5, 4.0) if rng.random() < 0.3 else np.inf
        self._leave_s = rng.uniform(4.5, 5.4) if rng.random() < 0.25 else np.inf
        self._along_m, self._direction = 0.0, 1.0
        self._sliding_s, self._aloft_s = 0.0, np.inf
        self._touched = self._tared = False

    def _parts(self, rng: np.random.Generator, tip: str) -> Parts:
        friction, radius = rng.uniform(0.15, 0.7), rng.uniform(0.002, 0.006)
        length, mass = rng.uniform(0.03, 0.06), rng.uniform(0.02, 0.2)
        contact = (
            f'contype="{WORK}" conaffinity="{WORK}" group="1" '
            f'friction="{friction:.3f} 0.005 0.0001" {CONTACT}'
        )
        shape = {
            'sphere': f'type="sphere" size="{radius}"',
            'capsule': f'type="capsule" size="{radius} {radius}" euler="1.5708 0 0"',
            'ellipsoid': f'type="ellipsoid" size="{radius} {1.4 * radius} {radius}"',
        }[tip]
        tint = colour(rng)
        # A stylus with a spring, as a soft fingertip has: a rigid one that meets relief is stopped
        # by the whole mass of the arm, and jumps.
        spring = rng.uniform(1500, 5000)
        damping = 1.4 * np.sqrt(spring * (mass + 0.005))
        slide = (
            f'<joint type="slide" axis="0 0 1" stiffness="{spring:.1f}" damping="{damping:.2f}" '
            f'range="-0.012 0.002"/>'
        )
        tool = (
            f'<body name="stylus">{slide}<geom type="cylinder" size="0.003 {length / 2}" '
            f'pos="0 0 {length / 2 - radius}" mass="{mass:.4f}" group="1" rgba="{tint} 1"/>'
            f'<geom {shape} pos="0 0 {length - radius}" mass="0.005" rgba="{tint} 1" {contact}/>'
            f'<site name="stylus_touch" type="sphere" size="1"/>'
            f'<site name="tip" pos="0 0 {length}"/></body>' + handle(0.006, 0.02, colour=tint)
        )
        paint = colour(rng)
        world = (
            f'<body name="surface" pos="{text(self._work.origin)}" '
            f'quat="{text(self._work.quaternion)}">'
            f'<geom type="box" size="0.1 0.05 0.02" pos="0 0 -0.02" rgba="{paint} 1" {contact}/>'
            f'{self._texture(rng, f"""rgba="{paint} 1" {contact}""")}</body>'
            + pedestal(self._work, 0.04, colour(rng))
        )
        return Parts(tool, world, touch='stylus_touch', slide='tip')

    def _texture(self, rng: np.random.Generator, contact: str) -> str:
        """Relief from primitive shapes; a sphere on a height field would be kicked."""
        high, period = self._relief_m, rng.uniform(0.0025, 0.007)
        across = np.pi / 2
        if not self._rough:
            return ''.join(
                _ridge(x, across, high, contact) for x in np.arange(-REACH_M, REACH_M, 2 * period)
            )
        places = np.arange(-REACH_M, REACH_M, period)
        if self.shape == 'ridges':
            angle = across + rng.uniform(-0.5, 0.5)
            return ''.join(_ridge(x, angle, high, contact) for x in places)
        if self.shape == 'noise':
            return ''.join(
                _ridge(
                    x + rng.normal(0, period / 2),
                    across + rng.normal(0, 0.3),
                    high * rng.uniform(0.2, 1),
                    contact,
                )
                for x in places
            )
        if self.shape == 'weave':
            return ''.join(
                _ridge(x, across + angle, high * share, contact)
                for x in places
                for angle, share in ((0.6, 1.0), (-0.6, 0.7))
            )
        if self.shape == 'scratches':
            return _grooves(rng, len(places) // 2, high, contact)
        if self.shape == 'bumps':
            return ''.join(
                _bump(x + period / 2 * (row % 2), (row - 2) * 0.6 * period, high, contact)
                for x in places
                for row in range(5)
            )
        return ''.join(  # grit
            _bump(
                x + rng.normal(0, period / 3),
                rng.uniform(-0.004, 0.004) + self._aside_m,
                high * rng.uniform(0.4, 1),
                contact,
                radius=rng.uniform(0.001, 0.003),
            )
            for x in places
            for _ in range(3)
        )

    def command(self, now_s: float, arm: Arm) -> Pose:
        """Approach, then stroke back and forth under a constant force."""
        arm.opening_m = -0.01
        if now_s >= self._wait_s and not self._tared:
            arm.tare()
            self._tared = True
        if not self._tared:
            return self._pose()
        if now_s > self._leave_s:
            self._height_m += 0.03 * TICK_S
        elif not self._touched:
            self._height_m -= self._approach * TICK_S
            self._touched = arm.press_n > 0.5 * self._force_n
        else:
            missing_n = float(np.clip(self._force_n - arm.press_n, -10, 10))
            speed = missing_n / (self.setup.stiffness.linear * CONTROL_S)
            self._height_m -= float(np.clip(speed, -0.02, 0.02)) * TICK_S
            if not self._pause_s < now_s < self._pause_s + 0.8:
                self._along_m += self._direction * self._speed * TICK_S
                if not 0 <= self._along_m <= STROKE_M:
                    self._direction *= -1
        return self._pose()

    def _pose(self) -> Pose:
        local = np.array([self._along_m - STROKE_M / 2, self._aside_m, self._height_m])
        return Pose(self._work.to_world(local), self._work.tool(self._yaw))

    def watch(self, arm: Arm) -> None:
        """Follow for how long the tip has been sliding."""
        sensors = arm.data.sensordata
        speed = float(np.linalg.norm(sensors[SLIDE]))
        # A tip that jumps over relief loses contact for a moment and still slides.
        self._aloft_s = 0.0 if sensors[TOUCH] > SLIDING_N else self._aloft_s + TICK_S
        slides = self._aloft_s < ALOFT_S and speed > SLIDING_M_S
        change_s = TICK_S if slides else -3 * TICK_S
        self._sliding_s = float(np.clip(self._sliding_s + change_s, 0.0, 2 * FELT_S))

    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """See `docs/simulator.md`."""
        truth = tool_facts(arm, 'stylus')
        if self._sliding_s > FELT_S:
            truth['rough(surface)'] = self._rough
        return truth


def _ridge(x: float, angle: float, high_m: float, contact: str) -> str:
    """A capsule that sticks out of the surface."""
    along, across = 0.012 * np.cos(angle), 0.012 * np.sin(angle)
    z = high_m - RIDGE_M
    return (
        f'<geom type="capsule" fromto="{x - along} {-across} {z} {x + along} {across} {z}" '
        f'size="{RIDGE_M}" {contact}/>'
    )


def _bump(x: float, y: float, high_m: float, contact: str, *, radius: float = RIDGE_M) -> str:
    return f'<geom type="sphere" pos="{x} {y} {high_m - radius}" size="{radius}" {contact}/>'


def _grooves(rng: np.random.Generator, count: int, deep_m: float, contact: str) -> str:
    """Plates with gaps between them, as left by scratching."""
    edges = np.concatenate(
        [[-REACH_M - 0.02], np.sort(rng.uniform(-REACH_M, REACH_M, count)), [REACH_M + 0.02]]
    )
    return ''.join(
        f'<geom type="box" pos="{(low + high) / 2} 0 {deep_m - 0.001}" '
        f'size="{(high - low) / 2 - 0.0006} 0.015 0.001" {contact}/>'
        for low, high in pairwise(edges)
        if high - low > 0.002
    )
