"""The arm under operational-space impedance control at 500 Hz, and its recorded sensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from train.simulate.contact.model import FORCE, SENSORS, STEP_S
from train.simulate.contact.panda import FINGER_TRAVEL_M, PAD_GAP_M, TCP
from train.simulate.contact.poses import Vector

STEPS_PER_TICK = 2
TICK_S = STEP_S * STEPS_PER_TICK
JOINTS = 7
HOME = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 1.9, 0.785])
# The posture is held softly, except by the last joint, which would disturb the torque at the tool.
POSTURE = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
POSTURE_NM_RAD, POSTURE_NMS_RAD = 0.5, 0.3
MOST_FORCE_N, MOST_TORQUE_NM = 80.0, 8.0
BROKEN_N = 500.0
STEADY_RAD_S = 30.0


class UnstableError(RuntimeError):
    """The physics of an episode became unstable."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Commanded pose of the tool: position of its tip, metres, and orientation, in the world."""

    position: Vector
    quaternion: Vector


@dataclass(frozen=True, slots=True)
class Stiffness:
    """Impedance: newtons per metre, newton metres per radian, and damping ratio."""

    linear: float
    angular: float
    damping: float = 1.0


@dataclass
class Recording:
    """Sensors of an episode at every control tick, `N` of them, without noise.

    Attributes:
        sensors: `[N, SENSORS]`, with the layout of `model`.
        position, velocity, effort: `[N, 9]` of seven joints and two fingers, in rad, m, N m and N.
        count: Ticks recorded so far.
    """

    sensors: Vector
    position: Vector
    velocity: Vector
    effort: Vector
    count: int = 0

    @classmethod
    def of(cls, ticks: int) -> Recording:
        """An empty recording for a number of ticks."""
        position, velocity, effort = np.zeros((3, ticks, JOINTS + 2))
        return cls(np.zeros((ticks, SENSORS)), position, velocity, effort)

    def times_s(self) -> Vector:
        """Episode time of each tick, seconds, `[count]`."""
        return np.arange(self.count, dtype=np.float64) * TICK_S


class Plan(Protocol):
    """A task's motion; see `tasks`."""

    def command(self, now_s: float, arm: Arm) -> Pose:
        """The commanded pose; may also set `arm.opening_m`."""


class Arm:
    """The arm in its model.

    Args:
        model: The compiled model.
        tip: Site that is controlled.
        stiffness: Of the impedance controller.

    Attributes:
        data: MuJoCo's state.
        opening_m: Commanded distance of each pad from the centre; negative values squeeze.
        resting_force: MuJoCo's force at the wrist at the last `tare()`, newtons, sensor frame.
    """

    def __init__(self, model: mujoco.MjModel, tip: str, stiffness: Stiffness) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.opening_m = FINGER_TRAVEL_M
        self.resting_force = np.zeros(3)
        self._stiffness = stiffness
        self._site = int(model.site(tip).id)
        self._tcp = int(model.site(TCP).id)
        self._jacobian = np.zeros((6, model.nv))
        self._linear, self._angular = self._jacobian[:3], self._jacobian[3:]
        self._wrench, self._turn = np.zeros(6), np.zeros(3)
        self._current, self._inverse, self._error = np.zeros(4), np.zeros(4), np.zeros(4)
        self._rest = HOME.copy()
        self._damping = np.zeros(6)
        self._torque = np.zeros(JOINTS)

    @property
    def tip(self) -> Vector:
        """Position of the controlled tip, metres, world frame."""
        return np.array(self.data.site_xpos[self._site])

    @property
    def grip(self) -> Vector:
        """Position of the centre between the pads, metres, world frame."""
        return np.array(self.data.site_xpos[self._tcp])

    @property
    def press_n(self) -> float:
        """Force that pushes the tool back along its axis, relative to the last `tare()`."""
        return float(self.data.sensordata[2] - self.resting_force[2])

    def tare(self) -> None:
        """Take the present force as that of the tool alone."""
        self.resting_force = self.data.sensordata[FORCE].copy()

    def place(self, pose: Pose, *, opening_m: float, wrist_rad: float = 0.785) -> None:
        """Put the tip exactly at a pose, at rest.

        Args:
            pose: The pose.
            opening_m: Distance of each pad from the centre.
            wrist_rad: Approximate position of the last joint, which can turn by nearly two turns.

        Raises:
            UnstableError: The pose is out of reach.
        """
        data, limits = self.data, self.model.jnt_range[:JOINTS]
        data.qpos[:JOINTS] = (*HOME[:-1], wrist_rad)
        self.opening_m = opening_m
        data.qpos[7], data.qpos[8] = opening_m + PAD_GAP_M, -opening_m - PAD_GAP_M
        for _ in range(200):
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            error = self._pose_error(pose)
            if np.abs(error).max() < 1e-6:
                break
            jacobian = self._jacobian_now()
            square = jacobian @ jacobian.T + 1e-6 * np.eye(6)
            step = np.clip(jacobian.T @ np.linalg.solve(square, error), -0.2, 0.2)
            data.qpos[:JOINTS] = np.clip(data.qpos[:JOINTS] + step, limits[:, 0], limits[:, 1])
        else:
            raise UnstableError('the start of the episode is out of reach of the arm')
        self._rest = data.qpos[:JOINTS].copy()
        mujoco.mj_forward(self.model, data)
        self._set_damping()

    def _set_damping(self) -> None:
        """Damping for the stiffness and the inertia at the tip in the initial posture."""
        dense = np.zeros((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, dense, self.data.qM)
        jacobian = self._jacobian_now()
        inverse = jacobian @ np.linalg.solve(dense[:JOINTS, :JOINTS], jacobian.T)
        inertia = 1.0 / np.diag(inverse)
        stiffness = np.repeat([self._stiffness.linear, self._stiffness.angular], 3)
        self._damping = 2 * self._stiffness.damping * np.sqrt(stiffness * inertia)

    def _jacobian_now(self) -> Vector:
        mujoco.mj_jacSite(self.model, self.data, self._linear, self._angular, self._site)
        return self._jacobian[:, :JOINTS]

    def _pose_error(self, pose: Pose) -> Vector:
        mujoco.mju_mat2Quat(self._current, self.data.site_xmat[self._site])
        mujoco.mju_negQuat(self._inverse, self._current)
        mujoco.mju_mulQuat(self._error, pose.quaternion, self._inverse)
        mujoco.mju_quat2Vel(self._turn, self._error, 1.0)
        self._wrench[:3] = pose.position - self.data.site_xpos[self._site]
        self._wrench[3:] = self._turn
        return self._wrench

    def step(self, pose: Pose) -> None:
        """Control towards a pose for one tick."""
        data = self.data
        wrench = self._pose_error(pose)
        jacobian = self._jacobian_now()
        speed = data.qvel[:JOINTS]
        wrench[:3] = np.clip(self._stiffness.linear * wrench[:3], -MOST_FORCE_N, MOST_FORCE_N)
        wrench[3:] = np.clip(self._stiffness.angular * wrench[3:], -MOST_TORQUE_NM, MOST_TORQUE_NM)
        wrench -= self._damping * (jacobian @ speed)
        bend = POSTURE_NM_RAD * (self._rest - data.qpos[:JOINTS]) - POSTURE_NMS_RAD * speed
        self._torque = jacobian.T @ wrench + data.qfrc_bias[:JOINTS] + POSTURE * bend
        data.ctrl[:JOINTS] = self._torque
        data.ctrl[7], data.ctrl[8] = self.opening_m + PAD_GAP_M, -self.opening_m - PAD_GAP_M
        mujoco.mj_step(self.model, data, STEPS_PER_TICK)

    def record(self, recording: Recording) -> None:
        """Append the sensors to a recording.

        Raises:
            UnstableError: A force or speed is no longer plausible.
        """
        data, k = self.data, recording.count
        sensors = data.sensordata
        recording.sensors[k, : len(sensors)] = sensors
        speed = data.qvel[:JOINTS]
        recording.position[k] = data.qpos[:9]
        recording.velocity[k] = data.qvel[:9]
        recording.effort[k, :JOINTS] = self._torque
        recording.effort[k, JOINTS:] = data.actuator_force[JOINTS : JOINTS + 2]
        recording.count += 1
        force = float(np.abs(sensors[FORCE]).max())
        warned = data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number > 0
        if warned or not force < BROKEN_N or not np.abs(speed).max() < STEADY_RAD_S:
            at_s = (k + 1) * TICK_S
            raise UnstableError(f'unstable physics after {at_s:.2f} s: {force:.0f} N at the wrist')
