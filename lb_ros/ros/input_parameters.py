"""Parameters of one sensor's node about its input."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node

from encoders import AudioOptions, ImageOptions
from encoders.decode.series import SeriesOptions
from lb_ros.engine.health import Expectation
from lb_ros.parameter_table import SensorParameters
from lb_ros.ros.parameters import declare_parameters


@dataclass(frozen=True, slots=True)
class InputParameters:
    """Decoding options and checks of a node's input.

    Attributes:
        images: Options for decoding images.
        sound: Format of audio messages that do not describe it.
        expectation: Requirements on rate, silence and latency.
        max_future_ms: Messages with stamps further in the future are refused.
        video_window_s: Length of video clips.
        series: Names of joints, sign of forces and expected frame.
        transport: Form of the images that is subscribed to, see `PictureTopics`.
    """

    images: ImageOptions
    sound: AudioOptions
    expectation: Expectation
    max_future_ms: float
    video_window_s: float
    series: SeriesOptions
    transport: str


def declare_input_parameters(node: Node, modality: str) -> InputParameters:
    """Declare and read the input parameters that apply to a modality.

    Raises:
        ValueError: A value is of the wrong type or out of range.
    """
    try:
        return input_parameters(declare_parameters(node, SensorParameters, modality=modality))
    except ValueError as error:
        raise ValueError(f'{node.get_name()}: {error}') from error


def names_of(text: str) -> dict[str, str]:
    """Return names of a robot's joints by name in the model set, from `NAME=NAME, ...`.

    Raises:
        ValueError: A part is not of this form, or a name is given twice.
    """
    names: dict[str, str] = {}
    for part in (part.strip() for part in text.split(',') if part.strip()):
        known, is_pair, own = (each.strip() for each in part.partition('='))
        if not (known and is_pair and own) or known in names:
            raise ValueError(
                f'joints_names: expected different NAME_IN_THE_SET=NAME_OF_THE_ROBOT, separated '
                f'by commas, not {part!r}'
            )
        names[known] = own
    return names


def input_parameters(values: SensorParameters) -> InputParameters:
    """Convert parameter values into the options of streams and health.

    Raises:
        ValueError: A value is out of range.
    """
    return InputParameters(
        images=ImageOptions(
            mono16_is_depth=values.depth_mono16,
            infrared_kind=values.infrared_kind,
            kelvin_per_count=values.infrared_kelvin_per_count,
            kelvin_at_zero=values.infrared_kelvin_at_zero,
            low_count=values.infrared_low_count,
            high_count=values.infrared_high_count,
            telemetry_rows=values.infrared_telemetry_rows,
        ),
        sound=AudioOptions(
            rate_hz=values.audio_rate_hz,
            channels=values.audio_channels,
            sample_format=values.audio_sample_format,
        ),
        expectation=Expectation(
            rate_hz=values.expected_rate_hz,
            tolerance=values.rate_tolerance,
            silent_after_s=values.silent_after_s,
            latency_budget_ms=values.latency_budget_ms,
        ),
        max_future_ms=values.max_future_ms,
        video_window_s=values.video_window_s,
        series=SeriesOptions(
            names=names_of(values.joints_names),
            sign=float(values.wrench_sign),
            frame_id=values.wrench_frame_id or values.imu_frame_id,
        ),
        transport=values.transport,
    )
