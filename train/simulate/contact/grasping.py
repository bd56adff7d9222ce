"""Grasping: the fingers close on an object and lift it, on nothing, or lose it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from train.simulate.contact.arm import JOINTS, Arm, Pose, Stiffness
from train.simulate.contact.insertion import prism
from train.simulate.contact.model import OBJECT, WORK, Parts
from train.simulate.contact.picking import PAD, Motion, Picking
from train.simulate.contact.poses import Workpiece, text
from train.simulate.contact.trial import Setup, colour

TRAINING, EVALUATION = ('box', 'cylinder', 'sphere'), ('capsule', 'ellipsoid', 'hexagon')
OUTCOMES = {'held': 0.4, 'nothing': 0.18, 'lost': 0.34, 'waiting': 0.08}
GRAVITY = 9.81
LOWEST_M = 0.014  # of the pads' centre above the table: the fingertips are below it
PALM_M = 0.025  # an object may reach so far above the pads' centre


class Grasping(Picking):
    """One episode; see `trial.Trial`."""

    own = ()

    def __init__(self, rng: np.random.Generator, *, evaluation: bool) -> None:
        self.shape = str(rng.choice(EVALUATION if evaluation else TRAINING))
        self.outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
        self.noun = '' if self.outcome == 'nothing' else 'object'
        loses = self.outcome == 'lost'
        friction = rng.uniform(0.15, 0.35) if loses else rng.uniform(0.5, 1.2)
        mass = rng.uniform(0.2, 0.7) if loses else rng.uniform(0.05, 0.4)
        work = Workpiece.draw(rng, most_tilt=0.0)
        geom, assets, half_m, height_m = self._shape(rng)
        squeeze_n = rng.uniform(10, 40)
        self._fades_s, self._fade_s, self._dips_hz = np.inf, 1.0, 0.0
        self._squeeze_n = self._needed_n = mass * GRAVITY / (2 * friction)
        if loses:
            squeeze_n = self._squeeze_n = self._weaken(rng)
        grip_m = max(height_m / 2, LOWEST_M, height_m - PALM_M) + rng.uniform(-0.001, 0.002)
        base = work.origin + np.array([0.0, 0.0, max(grip_m, LOWEST_M)])
        above_m = rng.uniform(0.01, 0.03) + height_m - height_m / 2
        motion = Motion.draw(rng, base, above_m=above_m, half_width_m=half_m)
        self.motion = replace(
            motion,
            closes=self.outcome != 'waiting',
            wide_m=motion.wide_m if self.noun else rng.uniform(0.015, 0.039),
        )
        world = table(work, rng) + (self._object(work, geom, friction, mass, rng, height_m))
        self.setup = Setup(
            parts=Parts(
                tool='',
                world=world,
                touch='table_touch',
                slide='tcp',
                slip='object' if self.noun else '',
                assets=assets,
                pad=(('friction', f'{friction if loses else 1.0:.3f} 0.02 0.001'), PAD[1]),
                iterations=50,
            ),
            start=self.start_pose(),
            focus=work.origin + np.array([0.0, 0.0, 0.04]),
            grip_m=self.motion.wide_m,
            stiffness=Stiffness(rng.uniform(600, 1500), rng.uniform(25, 50)),
            squeeze_n=squeeze_n,
            duration_s=8.0,
            tip='tcp',
        )

    def _weaken(self, rng: np.random.Generator) -> float:
        """Force of a grip that is too weak from the start, fades, or gives way again and again."""
        kind = rng.choice(['weak', 'fading', 'dipping'])
        if kind == 'weak':
            return float(rng.uniform(0.5, 0.95) * self._needed_n)
        self._fades_s, self._fade_s = rng.uniform(3.0, 5.5), rng.uniform(0.3, 2.0)
        self._dips_hz = rng.uniform(1.5, 4.0) if kind == 'dipping' else 0.0
        return float(rng.uniform(1.5, 2.5) * self._needed_n)

    def command(self, now_s: float, arm: Arm) -> Pose:
        """As in the base class, with a grip that may fade."""
        if now_s > self._fades_s:
            since_s = now_s - self._fades_s
            limit_n = self._squeeze_n * max(0.15, 1.0 - since_s / self._fade_s)
            if self._dips_hz:  # below the needed force for a part of every period
                swing = 0.35 * np.sin(2 * np.pi * self._dips_hz * since_s)
                limit_n = self._needed_n * (1.2 + swing)
            arm.model.actuator_forcerange[JOINTS:] = (-limit_n, limit_n)
        return super().command(now_s, arm)

    def _shape(self, rng: np.random.Generator) -> tuple[str, str, float, float]:
        """Attributes of the geom, assets, half the width between the pads, and the height."""
        half, tall = rng.uniform(0.012, 0.032), rng.uniform(0.016, 0.03)
        # Rounded shapes are gripped at half their height, or they would be squeezed out.
        rounded = float(np.clip(half, 0.014, PALM_M))
        if self.shape == 'box':
            long = rng.uniform(0.008, 0.03)
            return f'type="box" size="{long} {half} {tall}"', '', half, 2 * tall
        if self.shape == 'cylinder':
            return f'type="cylinder" size="{half} {tall}"', '', half, 2 * tall
        if self.shape == 'sphere':
            return f'type="sphere" size="{rounded}"', '', rounded, 2 * rounded
        if self.shape == 'capsule':
            lying = f'type="capsule" size="{rounded} {tall}" euler="0 1.5708 0"'
            return lying, '', rounded, 2 * rounded
        if self.shape == 'ellipsoid':
            lying = f'type="ellipsoid" size="{1.4 * rounded} {rounded} {rounded}"'
            return lying, '', rounded, 2 * rounded
        corners = prism(6, half, 2 * tall) - np.array([0, 0, tall])
        mesh = f'<mesh name="hexagon" vertex="{text(corners)}"/>'
        return f'type="mesh" mesh="hexagon" euler="0 0 {np.pi / 6}"', mesh, half, 2 * tall

    def _object(
        self,
        work: Workpiece,
        geom: str,
        friction: float,
        mass: float,
        rng: np.random.Generator,
        height_m: float,
    ) -> str:
        tint = colour(rng)
        if not self.noun:
            return ''
        place = work.origin + np.array([0.0, 0.0, height_m / 2])
        # The hand points down, so that its yaw turns it the other way about the vertical.
        return (
            f'<body name="object" pos="{text(place)}" euler="0 0 {-self.motion.yaw}"><freejoint/>'
            f'<geom name="object_body" {geom} mass="{mass:.4f}" rgba="{tint} 1" group="1" '
            f'friction="{friction:.3f} 0.01 0.001" condim="4" {OBJECT}/></body>'
        )


def table(work: Workpiece, rng: np.random.Generator) -> str:
    """A table whose plane carries what stands on it; fingers pass through it."""
    half_m = work.origin[2] / 2
    return (
        f'<body name="table" pos="{text(work.origin)}">'
        f'<geom type="plane" size="0.3 0.3 0.02" contype="{WORK}" conaffinity="{WORK}" '
        f'group="0" friction="0.5 0.005 0.001" condim="4" solref="0.01 1" '
        f'solimp="0.01 0.95 0.001"/>'
        f'<geom type="box" size="0.25 0.3 {half_m}" pos="0 0 {-half_m}" group="1" '
        f'rgba="{colour(rng)} 1"/><site name="table_touch" type="sphere" size="1"/></body>'
    )
