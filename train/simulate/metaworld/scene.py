"""A MetaWorld task as named parts: the handled object, its joint, and the fingers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco

from train.simulate.camera import subtree
from train.simulate.metaworld.tasks import ExpertTask, Moved
from train.simulate.scene import Joint, Place, Thing, Vector

LEFT = ('leftclaw', 'leftpad')
RIGHT = ('rightclaw', 'rightpad')
PALM = ('hand', 'right_hand')  # many objects are pushed with the mount of the fingers


@dataclass(frozen=True, slots=True)
class Touch:
    """Which parts of the gripper touch the handled object."""

    left: bool = False
    right: bool = False
    palm: bool = False


class ExpertScene:
    """A built task of MetaWorld; see `scene.Scene` for the shared attributes.

    Attributes:
        observation: Observation for the expert.
        part: Body that the gripper handles.
    """

    def __init__(self, task: ExpertTask, *, seed: int) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

        self.task = task
        name = f'{task.scene}-v3-goal-observable'
        self.env: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[name](seed=seed)
        self.observation: Vector = self.env.reset()[0]
        self.model: Any = self.env.model
        self.data: Any = self.env.data
        joint = self._joint_of(task.part)
        self.part = int(self.model.jnt_bodyid[joint])
        is_free = int(self.model.jnt_type[joint]) == mujoco.mjtJoint.mjJNT_FREE
        self.things = [self._thing(joint)] if is_free else []
        self.furniture: list[Thing] = []
        self.places: list[Place] = []
        moved = [fact for fact in task.facts if isinstance(fact, Moved)]
        self.joints = {j.noun: j for j in (self._joint(joint, fact) for fact in moved)}
        self._handled = set(subtree(self.model, self.part))
        self._hand = [self._bodies(names) for names in (LEFT, RIGHT, PALM)]

    def fixture_bodies(self) -> dict[str, int]:
        """Ids of the bodies that the handled part may touch."""
        return {noun: int(self.model.body(body).id) for noun, body in self.task.touches}

    def joint_position(self, joint: Joint) -> float:
        """Opening as a fraction: 0 closed or off, 1 fully open or on."""
        value = float(self.data.qpos[joint.qpos])
        return (value - joint.closed) / (joint.opened - joint.closed)

    def touch(self) -> Touch:
        """The parts of the gripper that touch the handled part now."""
        return Touch(*(self._touch(self._handled, bodies) for bodies in self._hand))

    def touches(self, body: int) -> bool:
        """Whether the handled part touches a body."""
        return self._touch(self._handled, set(subtree(self.model, body)))

    def _touch(self, some: set[int], others: set[int]) -> bool:
        owner = self.model.geom_bodyid
        for contact in self.data.contact[: self.data.ncon]:
            one, two = int(owner[contact.geom1]), int(owner[contact.geom2])
            if (one in some and two in others) or (two in some and one in others):
                return True
        return False

    def _bodies(self, names: tuple[str, ...]) -> set[int]:
        return {int(self.model.body(name).id) for name in names}

    def _joint_of(self, part: str) -> int:
        names = {self.model.joint(j).name: j for j in range(self.model.njnt)}
        if part in names:
            return names[part]
        return int(self.model.body_jntadr[self.model.body(part).id])

    def _joint(self, index: int, fact: Moved) -> Joint:
        return Joint(
            noun=self.task.noun,
            kind=fact.kind,
            qpos=int(self.model.jnt_qposadr[index]),
            dof=int(self.model.jnt_dofadr[index]),
            closed=fact.closed,
            opened=fact.opened,
            state_name=self.task.part,
        )

    def _thing(self, index: int) -> Thing:
        qpos = int(self.model.jnt_qposadr[index])
        return Thing(
            name=self.task.noun,
            noun=self.task.noun,
            body=self.part,
            qpos=qpos,
            dof=int(self.model.jnt_dofadr[index]),
            bottom_m=0.0,
            top_m=0.0,
            radius_m=0.0,
            quaternion=tuple(float(v) for v in self.data.qpos[qpos + 3 : qpos + 7]),
        )
