"""Insertion: a peg is searched into a hole by force, pushed in, and tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.simulate.contact.arm import TICK_S, Arm, Pose, Stiffness
from train.simulate.contact.model import SLIDE, SURFACE, TOUCH, Parts, handle
from train.simulate.contact.poses import Vector, Workpiece, text
from train.simulate.contact.trial import Setup, Trial, colour, pedestal, tool_facts

SIDES = {'square': 4, 'hexagon': 6, 'round': 14, 'triangle': 3, 'octagon': 8, 'pentagon': 5}
TRAINING, EVALUATION = ('square', 'hexagon', 'round'), ('triangle', 'octagon', 'pentagon')
OUTCOMES = {'inserted': 0.45, 'missed': 0.2, 'tilted': 0.15, 'halfway': 0.08, 'blocked': 0.12}
WALL_M = 0.05
INSERTED_ABOVE, NOT_BELOW = 0.8, 0.65  # of the depth of the hole
# Where a blocked hole ends: only how far the peg went tells it from a bottom, so the deepest block
# is less deep than the shallowest hole.
BLOCKED = (0.2, 0.5)
FELT_N = 2.0
FOUND_M = 0.0012
CONTROL_S = 0.1  # time constant of the force control
STUCK_N, STUCK_S, STUCK_M_S = 2.0, 0.25, 0.003
FREE_N, UNPUSHED_N = 0.5, 1.0


@dataclass
class _State:
    phase: str = 'wait'
    since_s: float = 0.0
    height_m: float = 0.0
    spiral: float = 0.0
    aside: tuple[float, float] = (0.0, 0.0)
    stuck_s: float = 0.0
    jammed: bool | None = False


class Insertion(Trial):
    """One episode; see `trial.Trial`."""

    own = ('inserted(peg)', 'jammed(peg)')

    def __init__(self, rng: np.random.Generator, *, evaluation: bool) -> None:
        self.shape = str(rng.choice(EVALUATION if evaluation else TRAINING))
        self.outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
        self._sides = SIDES[self.shape]
        self._radius, self._clear = rng.uniform(0.006, 0.016), rng.uniform(0.0004, 0.002)
        self._length, self._depth = rng.uniform(0.045, 0.08), rng.uniform(0.02, 0.03)
        self._work = Workpiece.draw(rng, most_tilt=0.3)
        self._yaw = rng.uniform(-1.5, 1.5)
        self._draw_motion(rng)
        friction, mass = rng.uniform(0.1, 0.6), rng.uniform(0.03, 0.3)
        parts = self._parts(rng, f'friction="{friction:.3f} 0.005 0.0001"', mass)
        local = np.array([*self._offset, self._lift])
        self.setup = Setup(
            parts=parts,
            start=Pose(self._work.to_world(local), self._quaternion),
            focus=self._work.origin,
            grip_m=self._radius * 0.7,
            stiffness=Stiffness(rng.uniform(700, 1800), rng.uniform(20, 50)),
            squeeze_n=rng.uniform(10, 40),
            duration_s=7.0,
            tip='tip',
        )
        self._state = _State(height_m=self._lift)

    def _draw_motion(self, rng: np.random.Generator) -> None:
        clear, angle = self._clear, rng.uniform(0, 2 * np.pi)
        self._search_m = rng.uniform(0.003, 0.0045)
        aside = {
            'missed': rng.uniform(self._search_m + clear + 0.003, 0.014),
            'inserted': rng.uniform(0, 0.0035),
            'tilted': rng.uniform(0, clear),
        }.get(self.outcome, 0.3 * clear)
        self._offset = aside * np.array([np.cos(angle), np.sin(angle)])
        tilt = rng.uniform(0.06, 0.2) if self.outcome == 'tilted' else rng.uniform(0, 0.01)
        self._quaternion = self._work.tool(
            self._yaw + rng.normal(0, 0.01),
            tilt_x=tilt * np.cos(angle + 1),
            tilt_y=tilt * np.sin(angle + 1),
        )
        self._lift = rng.uniform(0.01, 0.03)
        self._wait_s, self._speed = rng.uniform(0.3, 0.8), rng.uniform(0.015, 0.05)
        self._search_n, self._push_n = rng.uniform(2, 4), rng.uniform(5, 20)
        self._search_m_s, self._pitch = rng.uniform(0.015, 0.03), max(1.5 * clear, 0.0008)
        self._try_m, self._try_hz = rng.uniform(0.001, 0.004), rng.uniform(0.6, 2.0)
        self._leave_s = rng.uniform(5.0, 6.3) if rng.random() < 0.25 else np.inf
        share = rng.uniform(0.3, 0.55) if self.outcome == 'halfway' else 1.0
        self._stop_m = -share * self._depth if share < 1 else -self._depth - 0.02

    def _parts(self, rng: np.random.Generator, friction: str, mass: float) -> Parts:
        half, tint = self._length / 2, colour(rng)
        if self.shape == 'round':
            assets = ''
            peg = f'type="cylinder" size="{self._radius} {half}" pos="0 0 {half}"'
        else:
            corners = prism(self._sides, self._radius, self._length)
            assets = f'<mesh name="peg" vertex="{text(corners)}"/>'
            peg = 'type="mesh" mesh="peg"'
        tool = (
            f'<body name="peg" pos="0 0 0.01"><geom name="peg" {peg} mass="{mass:.4f}" '
            f'rgba="{tint} 1" condim="4" {friction} {SURFACE}/>'
            f'<site name="peg_touch" type="sphere" size="1"/>'
            f'<site name="tip" pos="0 0 {self._length}"/></body>'
            + handle(self._radius * 0.7, 0.02, colour=tint)
        )
        reach = self._radius + self._clear
        bottom = self._depth * (rng.uniform(*BLOCKED) if self.outcome == 'blocked' else 1.0)
        hole = colour(rng)
        walls = ''.join(
            f'<geom type="box" size="{WALL_M / 2} {(reach + WALL_M) * np.tan(np.pi / self._sides)}'
            f' {self._depth / 2}" pos="{(reach + WALL_M / 2) * np.cos(angle)} '
            f'{(reach + WALL_M / 2) * np.sin(angle)} {self._depth / 2}" euler="0 0 {angle}" '
            f'rgba="{hole} 1" {friction} {SURFACE}/>'
            for angle in np.arange(self._sides) * 2 * np.pi / self._sides
        )
        world = (
            f'<body name="socket" pos="{text(self._work.origin)}" '
            f'quat="{text(self._work.tool(self._yaw))}">{walls}'
            f'<geom type="box" size="{2.5 * reach} {2.5 * reach} 0.01" '
            f'pos="0 0 {bottom + 0.01}" rgba="0.1 0.1 0.1 1" {friction} {SURFACE}/></body>'
            + pedestal(self._work, self._depth + 0.012, colour(rng))
        )
        return Parts(tool, world, touch='peg_touch', slide='tip', assets=assets)

    def command(self, now_s: float, arm: Arm) -> Pose:
        """Approach, search in a spiral under a constant force, push, then try the peg."""
        arm.opening_m = -0.01
        state = self._state
        if now_s > self._leave_s and state.phase != 'leave':
            self._go('leave', now_s)
            state.height_m = float(self._work.to_local(arm.tip)[2])
        getattr(self, f'_{state.phase}')(now_s, arm)
        local = np.array([*(self._offset + state.aside), state.height_m])
        return Pose(self._work.to_world(local), self._quaternion)

    def _go(self, phase: str, now_s: float) -> None:
        self._state.phase, self._state.since_s = phase, now_s

    def _wait(self, now_s: float, arm: Arm) -> None:
        if now_s >= self._wait_s:
            arm.tare()
            self._go('approach', now_s)

    def _approach(self, now_s: float, arm: Arm) -> None:
        self._state.height_m -= self._speed * TICK_S
        tip_m = float(self._work.to_local(arm.tip)[2])
        if self._state.height_m < self._stop_m:
            self._go('try', now_s)
        elif arm.press_n > FELT_N:
            self._go('push' if tip_m < -FOUND_M else 'search', now_s)

    def _search(self, now_s: float, arm: Arm) -> None:
        """The peg slides outwards until it drops into the hole."""
        state = self._state
        self._press(self._search_n, arm)
        radius = self._pitch * state.spiral / (2 * np.pi)
        state.spiral += self._search_m_s / max(radius, 0.0005) * TICK_S
        state.aside = (radius * np.cos(state.spiral), radius * np.sin(state.spiral))
        tip_m = float(self._work.to_local(arm.tip)[2])
        if tip_m < -FOUND_M or radius > self._search_m:
            self._go('push', now_s)

    def _push(self, now_s: float, arm: Arm) -> None:
        self._press(self._push_n, arm)
        tip_m = float(self._work.to_local(arm.tip)[2])
        if tip_m < self._stop_m:
            self._state.height_m = self._stop_m
            self._go('try', now_s)
        elif arm.press_n > 0.8 * self._push_n and now_s - self._state.since_s > 0.8:
            self._go('try', now_s)

    def _try(self, now_s: float, arm: Arm) -> None:
        """Move the peg sideways, as one does to feel whether it is seated."""
        since_s = now_s - self._state.since_s
        swing = self._try_m * min(1.0, 2 * since_s) * np.sin(2 * np.pi * self._try_hz * since_s)
        drift = 0.6 * self._try_m * np.sin(2 * np.pi * 0.77 * self._try_hz * since_s)
        self._state.aside = (float(swing), float(drift))

    def _leave(self, now_s: float, arm: Arm) -> None:
        self._state.height_m = min(self._state.height_m + 0.06 * TICK_S, self._lift + 0.03)

    def _press(self, force_n: float, arm: Arm) -> None:
        """Move the commanded height so that the measured force approaches the wanted one."""
        missing_n = np.clip(force_n - arm.press_n, -10, 10)
        speed = missing_n / (self.setup.stiffness.linear * CONTROL_S)
        self._state.height_m -= float(np.clip(speed, -0.03, 0.03)) * TICK_S

    def watch(self, arm: Arm) -> None:
        """Follow for how long the peg has been pushed without moving."""
        state, sensors = self._state, arm.data.sensordata
        force_n, speed = float(sensors[TOUCH]), float(np.linalg.norm(sensors[SLIDE]))
        share = self._share(arm)
        pushed = arm.press_n > STUCK_N and share < NOT_BELOW and state.phase in ('push', 'try')
        state.stuck_s = state.stuck_s + TICK_S if pushed and speed < STUCK_M_S else 0.0
        unpushed = force_n < FREE_N or abs(arm.press_n) < UNPUSHED_N
        if unpushed or share > INSERTED_ABOVE or state.phase == 'leave':
            state.jammed = False
        elif state.stuck_s > STUCK_S:
            state.jammed = True
        elif state.jammed is False and force_n > STUCK_N:
            state.jammed = None  # pushed, but not for long enough to be stuck

    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """See `docs/simulator.md`."""
        truth = tool_facts(arm, 'peg')
        share = self._share(arm)
        if share > INSERTED_ABOVE or share < NOT_BELOW:
            truth['inserted(peg)'] = share > INSERTED_ABOVE
        if self._state.jammed is not None:
            truth['jammed(peg)'] = self._state.jammed
        return truth

    def _share(self, arm: Arm) -> float:
        """Part of the hole's depth that the tip has passed; 0 beside the hole."""
        tip = self._work.to_local(arm.tip)
        inside = np.hypot(tip[0], tip[1]) < self._radius + self._clear
        return float(-tip[2] / self._depth) if inside else 0.0


def prism(sides: int, inner_radius: float, length: float) -> Vector:
    """Corners `[2 * sides, 3]` of an upright prism from z = 0 to its length."""
    angles = (np.arange(sides) + 0.5) * 2 * np.pi / sides
    radius = inner_radius / np.cos(np.pi / sides)
    ring = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    ends = [np.column_stack([ring, np.full(sides, z)]) for z in (0.0, length)]
    return np.concatenate(ends)
