"""Filling: a container of unknown content is picked up from the table and shaken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.simulate.contact.arm import Arm, Stiffness
from train.simulate.contact.grasping import LOWEST_M, PALM_M, table
from train.simulate.contact.insertion import prism
from train.simulate.contact.model import OBJECT, Parts
from train.simulate.contact.picking import PAD, Motion, Picking
from train.simulate.contact.poses import Workpiece, text
from train.simulate.contact.trial import Setup, colour

LEVELS = {'empty': 0.33, 'half full': 0.3, 'full': 0.37}
FELT_S = 0.5
WALL_M, FACETS = 0.002, 12


@dataclass(frozen=True, slots=True)
class Kind:
    """Ranges of a container: half width and height in metres, kg/m^2 of its wall, form."""

    half_m: tuple[float, float]
    height_m: tuple[float, float]
    wall_kg_m2: float
    form: str
    lidded: float = 0.5


TRAINING = {
    'cup': Kind((0.025, 0.034), (0.07, 0.11), 3.0, 'cylinder'),
    'tin': Kind((0.028, 0.035), (0.04, 0.06), 4.0, 'cylinder', lidded=1.0),
    'carton': Kind((0.022, 0.034), (0.05, 0.09), 2.0, 'box'),
}
EVALUATION = {
    'bottle': Kind((0.02, 0.029), (0.1, 0.14), 3.0, 'cylinder', lidded=1.0),
    'jar': Kind((0.025, 0.034), (0.06, 0.09), 5.0, 'octagon'),
}


class Filling(Picking):
    """One episode; see `trial.Trial`."""

    own = ('full(cup)', 'half full(cup)', 'empty(cup)', 'lifted(cup)')
    noun = 'cup'

    def __init__(self, rng: np.random.Generator, *, evaluation: bool) -> None:
        kinds = EVALUATION if evaluation else TRAINING
        self.shape = str(rng.choice(list(kinds)))
        self.outcome = str(rng.choice(list(LEVELS), p=list(LEVELS.values())))
        kind = kinds[self.shape]
        half_m, height_m = rng.uniform(*kind.half_m), rng.uniform(*kind.height_m)
        level = {
            'empty': 0.0,
            'half full': rng.uniform(0.4, 0.6),
            'full': rng.uniform(0.88, 1.0),
        }[self.outcome]
        work = Workpiece.draw(rng, most_tilt=0.0)
        grip_m = max(LOWEST_M, 0.65 * height_m, height_m - PALM_M)
        base = work.origin + np.array([0.0, 0.0, grip_m])
        above_m = height_m - grip_m + rng.uniform(0.015, 0.035)
        self.motion = Motion.draw(rng, base, above_m=above_m, half_width_m=half_m)
        assets, container = self._container(rng, kind, half_m, height_m, level)
        place = work.origin + np.array([0.0, 0.0, height_m / 2])
        world = table(work, rng) + (
            f'<body name="object" pos="{text(place)}" euler="0 0 {-self.motion.yaw}"><freejoint/>'
            f'{container}</body>'
        )
        self.setup = Setup(
            parts=Parts(
                tool='',
                world=world,
                touch='table_touch',
                slide='tcp',
                slip='object',
                assets=assets,
                pad=PAD,
                iterations=50,
            ),
            start=self.start_pose(),
            focus=work.origin + np.array([0.0, 0.0, 0.04]),
            grip_m=self.motion.wide_m,
            stiffness=Stiffness(rng.uniform(700, 1500), rng.uniform(25, 50)),
            squeeze_n=rng.uniform(18, 40),
            duration_s=8.0,
            tip='tcp',
        )

    def _container(
        self,
        rng: np.random.Generator,
        kind: Kind,
        half_m: float,
        height_m: float,
        level: float,
    ) -> tuple[str, str]:
        """Assets, and the body's contents: a convex shape for contacts, walls to look at."""
        base_m2 = half_m**2 * (4.0 if kind.form == 'box' else np.pi)
        round_m = half_m * (8.0 if kind.form == 'box' else 2 * np.pi)
        own_kg = kind.wall_kg_m2 * (base_m2 + round_m * height_m) * rng.uniform(0.8, 1.2)
        fill_kg = level * base_m2 * height_m * rng.uniform(600, 1500)
        self.weight_kg = own_kg + fill_kg
        assets, shape = '', f'type="{kind.form}" size="{half_m} {height_m / 2}"'
        if kind.form == 'box':
            shape = f'type="box" size="{half_m} {half_m} {height_m / 2}"'
        elif kind.form == 'octagon':
            corners = prism(8, half_m, height_m) - np.array([0.0, 0.0, height_m / 2])
            assets = f'<mesh name="jar" vertex="{text(corners)}"/>'
            shape = 'type="mesh" mesh="jar"'
        lidded = rng.random() < kind.lidded
        look = _walls(kind, half_m, height_m, level, lidded=lidded, rng=rng)
        friction = rng.uniform(0.5, 1.0)
        body = (
            f'<geom name="object_body" {shape} mass="{own_kg:.4f}" group="0" '
            f'friction="{friction:.3f} 0.01 0.001" condim="4" {OBJECT}/>{look}'
        )
        if fill_kg:
            body += _contents(rng, half_m, height_m, level, fill_kg)
        return assets, body

    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """See `docs/simulator.md`: the content is known once the cup has been carried a while."""
        truth = super().truth(now_s, arm)
        if self.carried_s > FELT_S:
            for level in LEVELS:
                truth[f'{level}(cup)'] = self.outcome == level
        return truth


def _contents(
    rng: np.random.Generator, half_m: float, height_m: float, level: float, fill_kg: float
) -> str:
    """A still part, and a part that sloshes like the first mode of a liquid in a cup."""
    share = (0.06 if level > 0.8 else 0.55) * rng.uniform(0.7, 1.2)
    free_kg = share * fill_kg
    still_kg = fill_kg - free_kg
    spin = still_kg * half_m**2 / 3
    rate, damping = 2 * np.pi * rng.uniform(2.0, 4.5), rng.uniform(0.02, 0.12)
    slide = (
        f'range="{-0.6 * half_m} {0.6 * half_m}" stiffness="{free_kg * rate**2}" '
        f'damping="{2 * damping * rate * free_kg}"'
    )
    middle_m, surface_m = (level - 1) * height_m / 2, (level - 0.5) * height_m - 0.005
    return (
        f'<body pos="0 0 {middle_m}"><inertial pos="0 0 0" mass="{still_kg}" '
        f'diaginertia="{spin} {spin} {spin}"/></body>'
        f'<body pos="0 0 {surface_m}"><joint type="slide" axis="1 0 0" {slide}/>'
        f'<joint type="slide" axis="0 1 0" {slide}/>'
        f'<inertial pos="0 0 0" mass="{free_kg}" diaginertia="1e-5 1e-5 1e-5"/></body>'
    )


def _walls(
    kind: Kind,
    half_m: float,
    height_m: float,
    level: float,
    *,
    lidded: bool,
    rng: np.random.Generator,
) -> str:
    """What the camera sees: open walls and the surface of the content, or a lid."""
    paint, content = colour(rng), colour(rng)
    facets = 4 if kind.form == 'box' else FACETS
    wide = (half_m - WALL_M) * np.tan(np.pi / facets) + WALL_M
    look = 'mass="0" group="1"'
    walls = ''.join(
        f'<geom type="box" size="{WALL_M} {wide} {height_m / 2}" '
        f'pos="{(half_m - WALL_M) * np.cos(angle)} {(half_m - WALL_M) * np.sin(angle)} 0" '
        f'euler="0 0 {angle}" rgba="{paint} 1" {look}/>'
        for angle in np.arange(facets) * 2 * np.pi / facets
    )
    inner = half_m - 1.5 * WALL_M
    form, size = ('box', f'{inner} {inner}') if kind.form == 'box' else ('cylinder', f'{inner}')
    heights = [(-height_m / 2 + WALL_M, paint)]
    if level:
        heights.append(((level - 0.5) * height_m - 0.002, content))
    if lidded:
        heights.append((height_m / 2 - 0.0005, paint))
    return walls + ''.join(
        f'<geom type="{form}" size="{size} 0.001" pos="0 0 {z}" rgba="{tint} 1" {look}/>'
        for z, tint in heights
    )
