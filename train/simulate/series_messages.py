"""Serialised messages of force, joint and inertial sensors, thousands at a time.

A robot publishes these at hundreds of hertz. Their messages differ only in stamp and numbers, so
one message is serialised by rosbags and the bytes of the others are filled in by NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys.store import Typestore

WRENCH, JOINTS, IMU = (
    'geometry_msgs/msg/WrenchStamped',
    'sensor_msgs/msg/JointState',
    'sensor_msgs/msg/Imu',
)
STAMP = slice(4, 12)  # seconds and nanoseconds, after the encapsulation header
DOUBLE = 8
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeriesMessages:
    """Serialised messages of one topic.

    Attributes:
        kind: Message type.
        stamps_ns: int64 `[N]`.
        raw: uint8 `[N, bytes]`.
    """

    kind: str
    stamps_ns: NDArray[np.int64]
    raw: NDArray[np.uint8]


def wrench_messages(
    types: Typestore, stamps_ns: NDArray[np.int64], wrench: Values, *, frame_id: str
) -> SeriesMessages:
    """Messages of a force-torque sensor.

    Args:
        types: Type store with the ROS types.
        stamps_ns: int64 `[N]`.
        wrench: `[N, 6]`, force in newtons and torque in newton metres.
        frame_id: Frame of the sensor.
    """
    zero = types.types['geometry_msgs/msg/Vector3'](x=0.0, y=0.0, z=0.0)
    message = types.types[WRENCH](
        header=_header(types, frame_id),
        wrench=types.types['geometry_msgs/msg/Wrench'](force=zero, torque=zero),
    )
    return _filled(types, WRENCH, message, stamps_ns, [(-6 * DOUBLE, wrench)])


def joint_messages(
    types: Typestore,
    stamps_ns: NDArray[np.int64],
    names: Sequence[str],
    states: tuple[Values, Values, Values],
) -> SeriesMessages:
    """Messages of joint states.

    Args:
        types: Type store with the ROS types.
        stamps_ns: int64 `[N]`.
        names: `J` joints.
        states: Position, velocity and effort, `[N, J]` each.
    """
    count = len(names)
    empty = np.zeros(count)
    message = types.types[JOINTS](
        header=_header(types, ''), name=list(names), position=empty, velocity=empty, effort=empty
    )
    # Each array follows its length, padded to the alignment of a double.
    block = (count + 1) * DOUBLE
    ends = (-2 * block - count * DOUBLE, -block - count * DOUBLE, -count * DOUBLE)
    parts = list(zip(ends, states, strict=True))
    return _filled(types, JOINTS, message, stamps_ns, parts)


def imu_messages(
    types: Typestore,
    stamps_ns: NDArray[np.int64],
    rate: Values,
    acceleration: Values,
    *,
    frame_id: str,
) -> SeriesMessages:
    """Messages of an inertial unit without orientation, as REP 145 marks it.

    Args:
        types: Type store with the ROS types.
        stamps_ns: int64 `[N]`.
        rate: `[N, 3]`, radians per second.
        acceleration: `[N, 3]`, metres per second squared, including gravity: +g upwards at rest.
        frame_id: Frame of the unit.
    """
    zero = types.types['geometry_msgs/msg/Vector3'](x=0.0, y=0.0, z=0.0)
    unknown = np.zeros(9)
    unreported = unknown.copy()
    unreported[0] = -1.0
    message = types.types[IMU](
        header=_header(types, frame_id),
        orientation=types.types['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=unreported,
        angular_velocity=zero,
        angular_velocity_covariance=unknown,
        linear_acceleration=zero,
        linear_acceleration_covariance=unknown,
    )
    parts = [(-24 * DOUBLE, rate), (-12 * DOUBLE, acceleration)]
    return _filled(types, IMU, message, stamps_ns, parts)


def _header(types: Typestore, frame_id: str) -> Any:
    stamp = types.types['builtin_interfaces/msg/Time'](sec=0, nanosec=0)
    return types.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def _filled(
    types: Typestore,
    kind: str,
    message: Any,
    stamps_ns: NDArray[np.int64],
    parts: Sequence[tuple[int, Values]],
) -> SeriesMessages:
    """Repeat a message; `parts` are offsets from its end and the doubles that belong there."""
    template = np.frombuffer(bytes(types.serialize_cdr(message, kind)), np.uint8)
    raw = np.tile(template, (len(stamps_ns), 1))
    seconds, nanoseconds = np.divmod(stamps_ns, 1_000_000_000)
    stamps = np.stack([seconds, nanoseconds], axis=1).astype('<u4')
    raw[:, STAMP] = stamps.view(np.uint8)
    for offset, values in parts:
        doubles = np.ascontiguousarray(values, '<f8').view(np.uint8)
        start = raw.shape[1] + offset
        raw[:, start : start + doubles.shape[1]] = doubles
    return SeriesMessages(kind, stamps_ns, raw)
