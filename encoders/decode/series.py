"""Numeric channels of wrenches, joints and inertial units: messages to rows of values.

A channel has a name: `force.x` and `torque.z` of a wrench, `linear_acceleration.x` and
`angular_velocity.z` of an inertial unit, `JOINT.position`, `JOINT.velocity` and `JOINT.effort` of
joints. Joints are found by name, because their order in a message is arbitrary and differs
between publishers of one topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.channels import TopicMessage, row_of
from encoders.decode.errors import DecodeError

Floats = NDArray[np.float64]
AXES = ('x', 'y', 'z')
WRENCH = tuple(f'{part}.{axis}' for part in ('force', 'torque') for axis in AXES)
INERTIAL = tuple(
    f'{part}.{axis}' for part in ('linear_acceleration', 'angular_velocity') for axis in AXES
)
JOINT_PARTS = ('position', 'velocity', 'effort')
NOT_REPORTED = -1.0  # first element of a covariance (REP 145)
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SeriesOptions:
    """Properties of a robot's series that messages do not contain.

    Attributes:
        channels: Channels to decode, in order. If empty: all six of a wrench or an inertial unit,
            and all joints of the first message.
        names: Joint in `channels` to the joint's name on this robot, where they differ.
        sign: Factor of forces and torques: -1 for drivers that publish the reaction.
        frame_id: Frame that messages should name; empty: the one of the training data.
        sources: Of described channels, topic and field of each, `TOPIC:FIELD`.

    Raises:
        ValueError: `sign` is not 1 or -1, or a channel is given twice.
    """

    channels: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)
    sign: float = 1.0
    frame_id: str = ''
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if abs(self.sign) != 1:
            raise ValueError(f'sign must be 1 or -1, not {self.sign}')
        for channel in self.channels:
            if self.channels.count(channel) > 1:
                raise ValueError(f'channels: {channel} is given twice')


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values of some channels at some instants, at any rate; input of `Binder.preprocess`.

    The newest stamp is the end of the window. The arrays are copied, and read-only from then on.

    Attributes:
        values: float64 `[T, C]`; what is not finite was not measured.
        stamps_s: float64 `[T]`, seconds on any clock, in any order.
        channels: `C` names.
        baseline: float64 `[C]`, the values while nothing acted on the sensor, NaN where they are
            unknown; None if all are, then changes since the start of the window take their place.
        frame_id: Frame of the sensor, if it is known.

    Raises:
        ValueError: The shapes do not fit each other, or there is no finite stamp.
    """

    values: Floats
    stamps_s: Floats
    channels: tuple[str, ...]
    baseline: Floats | None = None
    frame_id: str = ''

    def __post_init__(self) -> None:
        values, stamps = _kept(self.values), _kept(self.stamps_s)
        count = len(self.channels)
        if values.ndim != 2 or stamps.ndim != 1 or values.shape != (len(stamps), count):
            raise ValueError(
                f'a series of {count} channels must have values [T, {count}] and stamps [T], '
                f'not {list(values.shape)} and {list(stamps.shape)}'
            )
        if not np.isfinite(stamps).any():
            raise ValueError('a series must have at least one finite stamp')
        object.__setattr__(self, 'values', values)
        object.__setattr__(self, 'stamps_s', stamps)
        object.__setattr__(self, 'channels', tuple(self.channels))
        if self.baseline is not None:
            baseline = _kept(self.baseline)
            if baseline.shape != (count,):
                raise ValueError(f'a baseline must be [{count}], not {list(baseline.shape)}')
            object.__setattr__(self, 'baseline', baseline)


def _kept(values: Any) -> Floats:
    copied = np.array(values, np.float64)
    copied.flags.writeable = False
    return copied


def channels_of(modality: str, message: Any) -> tuple[str, ...]:
    """All channels of a message, in its own order for joints.

    Raises:
        DecodeError: The message is not of the modality.
    """
    if modality == 'wrench':
        return WRENCH
    if modality == 'imu':
        return INERTIAL
    names = _joint_names(message)
    return tuple(f'{name}.{part}' for part in JOINT_PARTS for name in names)


def decode_series(
    modality: str, message: Any, channels: Sequence[str], options: SeriesOptions
) -> Floats:
    """The values of some channels in a message, float64 `[C]`; NaN where it has none.

    Args:
        modality: `wrench` (`geometry_msgs/WrenchStamped`), `joints` (`sensor_msgs/JointState`),
            `imu` (`sensor_msgs/Imu`) or `signals` (`TopicMessage`).
        message: The message.
        channels: Names of the channels.
        options: Names of joints, sign of forces, and topics and fields of described channels.

    Raises:
        DecodeError: The message is not of the modality, or a channel is unknown.
    """
    if isinstance(message, TopicMessage):
        return row_of(message, options.sources)
    if modality == 'joints':
        return _joints(message, channels, options.names)
    try:
        if modality == 'wrench':
            parts = {'force': message.wrench.force, 'torque': message.wrench.torque}
            return options.sign * _vectors(parts, channels)
        parts = {
            part: getattr(message, part)
            for part in ('linear_acceleration', 'angular_velocity')
            if np.asarray(getattr(message, f'{part}_covariance')).flat[0] != NOT_REPORTED
        }
        return _vectors(parts, channels)
    except AttributeError as error:
        expected = 'geometry_msgs/WrenchStamped' if modality == 'wrench' else 'sensor_msgs/Imu'
        raise DecodeError(
            f'{type(message).__name__} is not a message of {modality}, expected {expected}',
            fault='encoding',
        ) from error


def _vectors(parts: Mapping[str, Any], channels: Sequence[str]) -> Floats:
    row = np.full(len(channels), np.nan)
    for index, channel in enumerate(channels):
        part, _, axis = channel.partition('.')
        if axis not in AXES:
            raise DecodeError(f'unknown channel {channel!r}, expected PART.x, .y or .z')
        if part in parts:
            row[index] = getattr(parts[part], axis)
    return row


def _joint_names(message: Any) -> list[str]:
    try:
        return [str(name) for name in message.name]
    except (AttributeError, TypeError) as error:
        raise DecodeError(
            f'{type(message).__name__} is not a message of joints, expected '
            f'sensor_msgs/JointState',
            fault='encoding',
        ) from error


def _joints(message: Any, channels: Sequence[str], names: Mapping[str, str]) -> Floats:
    place = {name: index for index, name in enumerate(_joint_names(message))}
    parts = {part: getattr(message, part) for part in JOINT_PARTS}
    row = np.full(len(channels), np.nan)
    for index, channel in enumerate(channels):
        joint, _, part = channel.rpartition('.')
        if part not in parts:
            expected = ', '.join(JOINT_PARTS)
            raise DecodeError(
                f'unknown channel {channel!r}, expected JOINT. and one of {expected}'
            )
        at = place.get(names.get(joint, joint), -1)
        if 0 <= at < len(parts[part]):  # a driver that measures no effort sends an empty list
            row[index] = parts[part][at]
    return row
