"""Acceleration and angular velocity of an inertial unit (`sensor_msgs/Imu`)."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.decode.series import INERTIAL
from encoders.preprocess.mini import series
from encoders.preprocess.mini.series import SeriesConfig

normalise, objection, preprocess = series.normalise, series.objection, series.preprocess
remarks, stored_form, to_unit = series.remarks, series.stored_form, series.to_unit


@dataclass(frozen=True, slots=True)
class ImuConfig(SeriesConfig):
    """Three accelerations, m/s^2, and three angular velocities, rad/s; see `SeriesConfig`."""

    channels: tuple[str, ...] = INERTIAL
    convention: str = 'gravity included (REP 145), in the frame of the unit'
