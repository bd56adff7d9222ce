"""Messages of wrenches, joints and inertial units as plain objects, and streams of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from encoders.decode.series_stream import SeriesStream
from encoders.decode.streams import Window

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def _vector(values: Sequence[float]) -> SimpleNamespace:
    return SimpleNamespace(x=values[0], y=values[1], z=values[2])


def wrench(values: Sequence[float], *, frame_id: str = 'tool0') -> SimpleNamespace:
    """A `WrenchStamped` of three forces and three torques."""
    parts = SimpleNamespace(force=_vector(values[:3]), torque=_vector(values[3:]))
    return SimpleNamespace(header=SimpleNamespace(frame_id=frame_id), wrench=parts)


def joint_state(
    position: Mapping[str, float],
    *,
    velocity: Sequence[float] = (),
    effort: Sequence[float] = (),
) -> SimpleNamespace:
    """A `JointState`; velocity and effort in the order of the positions."""
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=''),
        name=list(position),
        position=np.array(list(position.values())),
        velocity=np.array(velocity),
        effort=np.array(effort),
    )


def imu(values: Sequence[float], *, acceleration_covariance: float = 0.0) -> SimpleNamespace:
    """An `Imu` of three accelerations and three angular velocities."""
    return SimpleNamespace(
        header=SimpleNamespace(frame_id='imu_link'),
        linear_acceleration=_vector(values[:3]),
        linear_acceleration_covariance=np.array([acceleration_covariance] + [0.0] * 8),
        angular_velocity=_vector(values[3:]),
        angular_velocity_covariance=np.zeros(9),
    )


def forces(times_s: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Slow waves with a little noise, `[T, 6]`."""
    rng = np.random.default_rng(seed)
    waves = np.sin(times_s[:, None] * np.arange(1, 7) / 2) * np.array([5, 5, 5, 0.2, 0.2, 0.2])
    return np.asarray(waves + rng.normal(0, 1e-3, waves.shape))


def fed(stream: SeriesStream, messages: Sequence[Any], times_s: Sequence[float]) -> Window:
    """The window that ends with the last of some messages."""
    for message, time_s in zip(messages, times_s, strict=True):
        cut = stream.add(message, stamp_ns=START_NS + round(time_s * SECOND_NS))
    return stream.window(cut)
