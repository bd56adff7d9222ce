"""What a robot feels: streams of wrenches, joint states and inertial units, for tests of nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3, WrenchStamped
from sensor_msgs.msg import Imu, JointState

from lb_ros.ros.stamps import to_stamp
from tests.lb_ros.robot import Robot

TOPICS = {'wrench': 'wrist/wrench', 'joints': 'joint_states', 'imu': 'imu/data'}
JOINTS = ('finger_joint', *(f'joint{number}' for number in range(1, 8)))
RATE_HZ = 100.0
PAUSE_NS = 800_000_000
Change = Callable[[Any], Any]


class Limb:
    """The stream of one sensor, gapless unless it is changed: noise around its rest.

    Attributes:
        sent: Stamp and message of what was published, in order.
    """

    def __init__(self, robot: Robot, modality: str, *, rate_hz: float = RATE_HZ) -> None:
        self.robot, self.modality = robot, modality
        self.step_ns = round(1e9 / rate_hz)
        self.at_ns = robot.now_ns()
        self.sent: list[tuple[int, Any]] = []
        self._rng = np.random.default_rng(0)

    def send(self, change: Change = lambda message: message) -> None:
        """Publish every message whose time has come; `change` may alter it, or return None."""
        now_ns = self.robot.now_ns()
        if now_ns - self.at_ns > PAUSE_NS:
            self.at_ns = now_ns
        while self.at_ns <= now_ns:
            message = change(self.rest(self.at_ns))
            if message is not None:
                self.robot.senders[self.modality].publish(message)
                self.sent.append((self.at_ns, message))
            self.at_ns += self.step_ns

    def rest(self, stamp_ns: int) -> Any:
        """A message while nothing acts on the sensor."""
        noise = self._rng.normal(0, 0.1, 24)
        message = getattr(self, f'_{self.modality}')(noise)
        message.header.stamp = to_stamp(stamp_ns)
        return message

    def _wrench(self, noise: np.ndarray) -> WrenchStamped:
        message = WrenchStamped()
        message.header.frame_id = 'tool0'
        message.wrench.force = vector(noise[:3])
        message.wrench.torque = vector(noise[3:6] * 0.05)
        return message

    def _joints(self, noise: np.ndarray) -> JointState:
        position, velocity, effort = noise[:8] * 0.01, noise[8:16] * 0.1, noise[16:]
        return JointState(
            name=list(JOINTS),
            position=position.tolist(),
            velocity=velocity.tolist(),
            effort=effort.tolist(),
        )

    def _imu(self, noise: np.ndarray) -> Imu:
        message = Imu()
        message.header.frame_id = 'imu_link'
        message.linear_acceleration = vector(noise[:3] + np.array([0, 0, 9.8]))
        message.angular_velocity = vector(noise[3:6] * 0.1)
        return message


def vector(values: np.ndarray) -> Vector3:
    """Three numbers as a message."""
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)
