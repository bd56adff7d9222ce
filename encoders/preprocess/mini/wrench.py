"""Force and torque at the wrist (`geometry_msgs/WrenchStamped`)."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.decode.series import WRENCH
from encoders.preprocess.mini import series
from encoders.preprocess.mini.series import SeriesConfig

normalise, objection, preprocess = series.normalise, series.objection, series.preprocess
remarks, stored_form, to_unit = series.remarks, series.stored_form, series.to_unit


@dataclass(frozen=True, slots=True)
class WrenchConfig(SeriesConfig):
    """Three forces, newtons, and three torques, newton metres; see `SeriesConfig`."""

    channels: tuple[str, ...] = WRENCH
    convention: str = 'what the environment exerts on the tool, in the frame of the sensor'
