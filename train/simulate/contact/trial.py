"""One drawn episode of a task: its setup, motion and truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from train.simulate.contact.arm import Arm, Pose, Stiffness
from train.simulate.contact.model import LEFT, RIGHT, TOUCH, Parts
from train.simulate.contact.poses import Vector, Workpiece

HELD_N, LOOSE_N = 1.0, 0.2
TOUCHED_N, UNTOUCHED_N = 0.3, 0.05


@dataclass(frozen=True, slots=True)
class Setup:
    """What an episode starts with.

    Attributes:
        parts: The task's part of the model.
        start: Initial pose of the tip.
        focus: Point at which the camera looks, metres, world frame.
        grip_m: Initial distance of each pad from the centre.
        stiffness: Of the impedance controller.
        squeeze_n: Largest force of each finger.
        duration_s: Length of the episode.
        tip: Site that is controlled.
        wrist_rad: Approximate initial position of the last joint.
    """

    parts: Parts
    start: Pose
    focus: Vector
    grip_m: float
    stiffness: Stiffness
    squeeze_n: float
    duration_s: float
    tip: str
    wrist_rad: float = 0.785


class Trial(ABC):
    """One drawn episode.

    Attributes:
        own: Predicates that the task determines, in addition to holding and contact.
        setup: What the episode starts with.
        shape: Shape, material or container, which differs between training and evaluation.
        outcome: What was drawn to happen.
    """

    own: ClassVar[tuple[str, ...]]
    setup: Setup
    shape: str
    outcome: str

    def prepare(self, arm: Arm) -> None:
        """Look up ids in the compiled model; called once before the first tick."""
        del arm

    @abstractmethod
    def command(self, now_s: float, arm: Arm) -> Pose:
        """The commanded pose of the tip; called at every tick."""

    def watch(self, arm: Arm) -> None:
        """Follow the state after every tick."""
        del arm

    @abstractmethod
    def truth(self, now_s: float, arm: Arm) -> dict[str, bool]:
        """Everything that is clearly true or clearly false now."""


def tool_facts(arm: Arm, noun: str) -> dict[str, bool]:
    """Facts of a tool that is fixed between the pads, from the forces on them.

    That the gripper touches its tool is left out: it would teach that contact is always felt.
    """
    sensors = arm.data.sensordata
    pads = (float(sensors[LEFT]), float(sensors[RIGHT]))
    truth = {'slipping(something)': False}
    if min(pads) > HELD_N or max(pads) < LOOSE_N:
        truth[f'holding({noun})'] = truth['holding(something)'] = min(pads) > HELD_N
    add_contact(truth, float(sensors[TOUCH]))
    return truth


def add_contact(truth: dict[str, bool], force_n: float) -> None:
    """Add whether the hand and what it holds touch anything else, from the force there."""
    if force_n > TOUCHED_N or force_n < UNTOUCHED_N:
        truth['contact(tool, something)'] = force_n > TOUCHED_N


def pedestal(work: Workpiece, below_m: float, tint: str) -> str:
    """A post from the floor to the underside of a fixed workpiece, to look at."""
    top = work.to_world(np.array([0.0, 0.0, -below_m]))
    half_m = max(0.005, float(top[2]) / 2)
    return (
        f'<geom type="cylinder" size="0.025 {half_m}" pos="{top[0]} {top[1]} {half_m}" '
        f'group="1" rgba="{tint} 1"/>'
    )


def colour(rng: np.random.Generator) -> str:
    """A random colour as an MJCF attribute without its opacity."""
    return ' '.join(f'{value:.2f}' for value in rng.uniform(0.15, 0.95, 3))
