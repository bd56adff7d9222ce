"""What the sensors of the arm report: MuJoCo's readings with noise and offsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.simulate.contact.arm import JOINTS, TICK_S, Recording
from train.simulate.contact.model import ACCELERATION, FORCE, RATE, TORQUE
from train.simulate.contact.poses import Vector

IMU_HZ = 200
ARM_NAMES = tuple(f'panda_joint{n}' for n in range(1, JOINTS + 1))
FINGER_NAMES = ('panda_finger_joint1', 'panda_finger_joint2')
# Ranges of the standard deviation of the noise, and standard deviations of constant offsets.
FORCE_NOISE_N, TORQUE_NOISE_NM = (0.03, 0.15), (0.001, 0.005)
FORCE_BIAS_N, TORQUE_BIAS_NM, DRIFT_N_S = 0.3, 0.01, 0.01
POSITION_NOISE, VELOCITY_NOISE = 2e-5, 2e-3
EFFORT_NOISE_NM, EFFORT_BIAS_NM, FINGER_NOISE_N = (0.05, 0.2), 0.2, 0.2
ACCELERATION_NOISE, ACCELERATION_BIAS = (0.03, 0.08), 0.05
RATE_NOISE, RATE_BIAS = (0.002, 0.005), 0.003


@dataclass(frozen=True, slots=True)
class Joints:
    """Joint states in the order in which a driver happens to publish them.

    Attributes:
        names: `J` names.
        position, velocity, effort: `[N, J]`, rad, m, rad/s, m/s, N m, N.
    """

    names: tuple[str, ...]
    position: Vector
    velocity: Vector
    effort: Vector


def measure_wrench(recording: Recording, rng: np.random.Generator) -> Vector:
    """Force and torque that the hand and its tool exert on the wrist, `[N, 6]`, N and N m.

    The sensor was tared without its load: it shows the weight of hand and tool, along gravity, and
    a small offset that drifts. Its z axis points along the tool.
    """
    count = recording.count
    # MuJoCo reports what the arm exerts on the hand.
    wrench = -recording.sensors[:count, FORCE.start : TORQUE.stop]
    scale = [rng.uniform(*FORCE_NOISE_N)] * 3 + [rng.uniform(*TORQUE_NOISE_NM)] * 3
    bias = np.append(rng.normal(0, FORCE_BIAS_N, 3), rng.normal(0, TORQUE_BIAS_NM, 3))
    drift = np.append(rng.normal(0, DRIFT_N_S, 3), np.zeros(3))
    times = np.arange(count)[:, None] * TICK_S
    noisy = wrench + bias + drift * times + rng.normal(0, 1, wrench.shape) * scale
    return _coarse(noisy)


def measure_joints(recording: Recording, rng: np.random.Generator) -> Joints:
    """States of the arm's joints and both fingers, in an arbitrary order."""
    count = recording.count
    sign = np.ones(JOINTS + 2)
    sign[-1] = -1.0  # both fingers count from the centre, as drivers publish them
    position = recording.position[:count] * sign
    velocity = recording.velocity[:count] * sign
    effort = recording.effort[:count] * sign
    noise = np.array([rng.uniform(*EFFORT_NOISE_NM)] * JOINTS + [FINGER_NOISE_N] * 2)
    bias = np.append(rng.normal(0, EFFORT_BIAS_NM, JOINTS), np.zeros(2))
    position = position + rng.normal(0, POSITION_NOISE, position.shape)
    velocity = velocity + rng.normal(0, VELOCITY_NOISE, velocity.shape)
    effort = effort + bias + rng.normal(0, 1, effort.shape) * noise
    names, order = (*ARM_NAMES, *FINGER_NAMES), rng.permutation(JOINTS + 2)
    return Joints(
        tuple(names[k] for k in order),
        *(_coarse(values[:, order]) for values in (position, velocity, effort)),
    )


def measure_imu(recording: Recording, rng: np.random.Generator) -> tuple[Vector, Vector, Vector]:
    """Inertial unit on the hand at `IMU_HZ`, with its z axis up while the hand points down.

    Returns:
        Times `[M]` in seconds, angular velocity `[M, 3]` in rad/s, and acceleration `[M, 3]` in
        m/s^2 with +g upwards at rest (REP 145).
    """
    ticks = np.arange(recording.count) * TICK_S
    times = np.arange(int(recording.count * TICK_S * IMU_HZ)) / IMU_HZ
    raw = recording.sensors[: recording.count, ACCELERATION.start : RATE.stop]
    values = np.stack([np.interp(times, ticks, column) for column in raw.T], axis=1)
    scale = [rng.uniform(*ACCELERATION_NOISE)] * 3 + [rng.uniform(*RATE_NOISE)] * 3
    bias = np.append(rng.normal(0, ACCELERATION_BIAS, 3), rng.normal(0, RATE_BIAS, 3))
    noisy = _coarse(values + bias + rng.normal(0, 1, values.shape) * scale)
    return times, noisy[:, 3:], noisy[:, :3]


def _coarse(values: Vector) -> Vector:
    """Single precision, as sensors have: the zero bits compress well."""
    return values.astype(np.float32).astype(np.float64)
