"""The parts of a contact episode as cameras and finger pads need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np

from train.simulate.camera import Camera
from train.simulate.contact.arm import Arm
from train.simulate.contact.model import CAMERA, SLIP
from train.simulate.contact.panda import ROBOT_PARTS, WARM_PARTS_K
from train.simulate.contact.poses import Vector
from train.simulate.scene import Joint, Place, Thing
from train.simulate.world import PADS, Heat, SoundEvent

FIXTURES = ('peg', 'socket', 'driver', 'screw', 'plate', 'stylus', 'surface', 'table')


class ContactScene:
    """See `stage.StageScene`.

    Args:
        arm: The arm in its model.
        noun: Noun of the free object, or '' if there is none.
    """

    def __init__(self, arm: Arm, noun: str) -> None:
        self.env: Any = None
        self.model, self.data = arm.model, arm.data
        self.things = [self._thing(noun)] if noun else []
        self.furniture: list[Thing] = []
        self.joints: dict[str, Joint] = {}
        self.places: list[Place] = []

    def fixture_bodies(self) -> dict[str, int]:
        """Ids of the named bodies."""
        names = {self.model.body(body).name: body for body in range(self.model.nbody)}
        return {name: names[name] for name in FIXTURES if name in names}

    def _thing(self, noun: str) -> Thing:
        body = int(self.model.body('object').id)
        joint = int(self.model.body_jntadr[body])
        qpos = int(self.model.jnt_qposadr[joint])
        return Thing(
            name='object',
            noun=noun,
            body=body,
            qpos=qpos,
            dof=int(self.model.jnt_dofadr[joint]),
            bottom_m=0.0,
            top_m=0.0,
            radius_m=0.0,
            quaternion=tuple(float(v) for v in self.data.qpos[qpos + 3 : qpos + 7]),
        )


@dataclass
class ContactWorld:
    """See `stage.StageWorld` and `stage.PadWorld`."""

    scene: ContactScene
    arm: Arm
    rng: np.random.Generator
    sounds: list[SoundEvent] = field(default_factory=list)
    heat: Heat = field(default_factory=Heat)

    def stove_is_on(self) -> bool:
        """There is no stove."""
        return False

    @property
    def grip(self) -> Vector:
        """Position of the grip point, metres, world frame."""
        return self.arm.grip

    def pad_contacts(self) -> list[tuple[str, str]]:
        """Pairs of finger pad and touched shape."""
        model, pairs = self.arm.model, []
        for contact in self.arm.data.contact:
            names = model.geom(contact.geom1).name, model.geom(contact.geom2).name
            pairs += [(one, two) for one, two in (names, names[::-1]) if one in PADS]
        return pairs

    def relative_velocity(self, thing: Thing) -> Vector:
        """Velocity of the object relative to the grip, metres/second, world frame."""
        turn = self.arm.data.site('tcp').xmat.reshape(3, 3)
        velocity: Vector = turn @ self.arm.data.sensordata[SLIP]
        return velocity


class ContactCamera(Camera):
    """A camera beside the workpiece."""

    warm_parts_k = WARM_PARTS_K
    robot_parts = ROBOT_PARTS
    has_infrared = False

    def __init__(self, scene: ContactScene) -> None:
        super().__init__(scene, CAMERA)
        self._view.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
