"""Positions, velocities and efforts of an arm and its gripper (`sensor_msgs/JointState`)."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.decode.series import JOINT_PARTS
from encoders.preprocess.mini import series
from encoders.preprocess.mini.series import SeriesConfig

normalise, objection, preprocess = series.normalise, series.objection, series.preprocess
remarks, stored_form, to_unit = series.remarks, series.stored_form, series.to_unit

ARM = tuple(f'joint{number}' for number in range(1, 8))
GRIPPER = 'finger_joint'


def channels(joints: tuple[str, ...]) -> tuple[str, ...]:
    """The channels of some joints: all positions, all velocities, all efforts."""
    return tuple(f'{joint}.{part}' for part in JOINT_PARTS for joint in joints)


@dataclass(frozen=True, slots=True)
class JointsConfig(SeriesConfig):
    """Radians, metres for a gripper that slides, their rates, and newton metres or newtons.

    See `SeriesConfig`. Only the gripper has an absolute position.
    """

    channels: tuple[str, ...] = channels((*ARM, GRIPPER))
    relative: tuple[str, ...] = tuple(f'{joint}.position' for joint in ARM)
    convention: str = 'joints by name'
