"""Poses of the tool and of workpieces: positions in metres, quaternions in MuJoCo's order."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # the tool's z axis points down


def multiply(one: Vector, other: Vector) -> Vector:
    """Product of two quaternions: the rotation `other`, then `one`."""
    product = np.zeros(4)
    mujoco.mju_mulQuat(product, one, other)
    return product


def turned(axis: tuple[float, float, float], angle: float) -> Vector:
    """Quaternion of a rotation by an angle, radians."""
    quaternion = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quaternion, np.array(axis), angle)
    return quaternion


def pointing_down(yaw: float, *, tilt_x: float = 0.0, tilt_y: float = 0.0) -> Vector:
    """Tool orientation: z down, turned about its own axis, then tilted about x and y, radians."""
    quaternion = multiply(DOWN, turned((0, 0, 1), yaw))
    if tilt_x or tilt_y:
        tilts = multiply(turned((0, 1, 0), tilt_y), turned((1, 0, 0), tilt_x))
        quaternion = multiply(tilts, quaternion)
    return quaternion


def text(values: Vector) -> str:
    """Numbers as an MJCF attribute."""
    return ' '.join(f'{value:.8g}' for value in np.ravel(values))


@dataclass(frozen=True, slots=True)
class Workpiece:
    """Frame of a workpiece: z points out of its surface.

    Attributes:
        origin: Position, metres, world frame.
        quaternion: Orientation in the world.
        rotation: The same as a matrix `[3, 3]`.
    """

    origin: Vector
    quaternion: Vector
    rotation: Vector

    @classmethod
    def draw(cls, rng: np.random.Generator, *, most_tilt: float) -> Workpiece:
        """Draw a place within reach of the arm, tilted by up to `most_tilt` radians."""
        origin = np.array([rng.uniform(0.4, 0.6), rng.uniform(-0.2, 0.2), rng.uniform(0.08, 0.2)])
        heading, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0, most_tilt)
        quaternion = turned((float(np.cos(heading)), float(np.sin(heading)), 0.0), tilt)
        matrix = np.zeros(9)
        mujoco.mju_quat2Mat(matrix, quaternion)
        return cls(origin, quaternion, matrix.reshape(3, 3))

    def to_world(self, local: Vector) -> Vector:
        """Position in the world of a point in this frame."""
        point: Vector = self.origin + self.rotation @ local
        return point

    def to_local(self, point: Vector) -> Vector:
        """Position in this frame of a point in the world."""
        local: Vector = self.rotation.T @ (point - self.origin)
        return local

    def tool(self, yaw: float, *, tilt_x: float = 0.0, tilt_y: float = 0.0) -> Vector:
        """Orientation of a tool that points into the surface."""
        return multiply(self.quaternion, pointing_down(yaw, tilt_x=tilt_x, tilt_y=tilt_y))
