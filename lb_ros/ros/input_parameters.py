"""Parameters of one sensor's node about its input; config/parameters.yaml lists them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node

from encoders import MODALITIES, AudioOptions, ImageOptions
from encoders.decode.streams import DEFAULT_CLIP_S
from lb_ros.engine.health import Expectation
from lb_ros.ros.parameters import declare_parameter
from lb_ros.ros.picture_topics import AUTO, TRANSPORTS

# Parameter -> field of ImageOptions; the names say whose they are in a file for all nodes.
OF_DEPTH = {'depth_mono16': 'mono16_is_depth'}
OF_INFRARED = {
    'infrared_kind': 'infrared_kind',
    'infrared_kelvin_per_count': 'kelvin_per_count',
    'infrared_kelvin_at_zero': 'kelvin_at_zero',
    'infrared_low_count': 'low_count',
    'infrared_high_count': 'high_count',
    'infrared_telemetry_rows': 'telemetry_rows',
}
OF_AUDIO = {
    'audio_rate_hz': 'rate_hz',
    'audio_channels': 'channels',
    'audio_sample_format': 'sample_format',
}
DEFAULT_MAX_FUTURE_MS = 250.0
WINDOW_RANGE_S = FloatingPointRange(from_value=0.1, to_value=60.0)


@dataclass(frozen=True, slots=True)
class InputParameters:
    """How the input of a node is read and judged.

    Attributes:
        images: What images leave open.
        sound: What sound messages without a description are.
        expectation: Rate, silence and latency.
        max_future_ms: Stamps further in the future are refused.
        video_window_s: How long clips are.
        transport: Which form of the pictures is subscribed to, see `PictureTopics`.
    """

    images: ImageOptions
    sound: AudioOptions
    expectation: Expectation
    max_future_ms: float
    video_window_s: float = DEFAULT_CLIP_S
    transport: str = AUTO


def declare_input_parameters(node: Node, modality: str) -> InputParameters:
    """Declare those that concern a modality, read-only, and read them.

    Raises:
        ValueError: A value is of the wrong type or out of range.
    """

    def declared(names: dict[str, str], defaults: Any) -> dict[str, Any]:
        values = asdict(defaults)
        return {
            field: declare_parameter(
                node, name, values[field], ParameterDescriptor(read_only=True)
            )
            for name, field in names.items()
        }

    image_names = {'depth': OF_DEPTH, 'infrared': OF_INFRARED}.get(modality, {})
    sound_names = OF_AUDIO if modality == 'audio' else {}
    expectation_names = {
        'expected_rate_hz': 'rate_hz',
        'rate_tolerance': 'tolerance',
        **{
            field.name: field.name
            for field in fields(Expectation)
            if field.name not in ('rate_hz', 'tolerance')
        },
    }
    future_ms = declare_parameter(
        node, 'max_future_ms', DEFAULT_MAX_FUTURE_MS, ParameterDescriptor(read_only=True)
    )
    transport = AUTO
    if MODALITIES[modality].kind != 'sound':
        transport = declare_parameter(node, 'transport', AUTO, ParameterDescriptor(read_only=True))
    window_s = DEFAULT_CLIP_S
    if MODALITIES[modality].kind == 'clip':
        descriptor = ParameterDescriptor(read_only=True, floating_point_range=[WINDOW_RANGE_S])
        window_s = declare_parameter(node, 'video_window_s', DEFAULT_CLIP_S, descriptor)
    if transport not in TRANSPORTS:
        raise ValueError(
            f'{node.get_name()}: parameter transport must be one of {", ".join(TRANSPORTS)}, '
            f'not {transport!r}'
        )
    try:
        return InputParameters(
            images=ImageOptions(**declared(image_names, ImageOptions())),
            sound=AudioOptions(**declared(sound_names, AudioOptions())),
            expectation=Expectation(**declared(expectation_names, Expectation())),
            max_future_ms=future_ms,
            video_window_s=window_s,
            transport=transport,
        )
    except ValueError as error:
        raise ValueError(f'{node.get_name()}: {error}') from error
