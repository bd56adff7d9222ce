"""The node `microphone`: sound from a local device as a stream of chunks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from lb_ros.capture import Capture, load_sounddevice
from lb_ros.msg import AudioChunk
from lb_ros.parameters import declare_parameter
from lb_ros.qos import CHUNKS
from lb_ros.stamps import to_stamp

__all__ = ['MicrophoneNode', 'MicrophoneParameters', 'chunk_message', 'load_sounddevice']


@dataclass(frozen=True, slots=True)
class MicrophoneParameters:
    """Values of the node's parameters.

    Attributes:
        device: Part of the name of an input device; the system's default where empty.
        sample_rate_hz: Samples per second and channel.
        channels: 1 or more.
        chunk_ms: Length of a message.
        frame_id: Of the microphone.
    """

    device: str = ''
    sample_rate_hz: int = 16_000
    channels: int = 1
    chunk_ms: int = 100
    frame_id: str = 'microphone'


class MicrophoneNode(Node):
    """Publishes `microphone/audio` until it is destroyed.

    Raises:
        ModuleNotFoundError: sounddevice or the PortAudio library is missing; says how to get it.
        ValueError: The device does not exist or does not record like this; a parameter is wrong.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('microphone', **node_options)
        self.parameters = self._declare()
        self._publisher = self.create_publisher(AudioChunk, 'microphone/audio', CHUNKS)
        self._told = 0
        self._capture = open_capture(self, self.parameters)
        self.create_timer(0.02, self._publish)

    def destroy_node(self) -> None:
        """Close the device as well."""
        self._capture.close()
        super().destroy_node()

    def _declare(self) -> MicrophoneParameters:
        values = {
            field.name: declare_parameter(
                self, field.name, field.default, ParameterDescriptor(read_only=True)
            )
            for field in fields(MicrophoneParameters)
        }
        return MicrophoneParameters(**values)

    def _publish(self) -> None:
        for recorded in self._capture.poll():
            message = chunk_message(recorded.samples, recorded.stamp_ns, self.parameters)
            self._publisher.publish(message)
        lost = self._capture.gaps + self._capture.dropped
        if lost > self._told:
            self._told = lost
            self.get_logger().warning(f'sound was lost {lost} times so far')


def open_capture(node: Node, parameters: MicrophoneParameters) -> Capture:
    """Open the device that the parameters name, on a node's clock and log.

    Raises:
        ModuleNotFoundError: sounddevice or the PortAudio library is missing; says how to get it.
        ValueError: The device does not exist or does not record like this.
    """
    return Capture(
        device=parameters.device,
        rate_hz=parameters.sample_rate_hz,
        channels=parameters.channels,
        chunk_ms=parameters.chunk_ms,
        now_ns=lambda: node.get_clock().now().nanoseconds,
        log=node.get_logger().warning,
    )


def chunk_message(
    samples: NDArray[np.int16], stamp_ns: int, parameters: MicrophoneParameters
) -> AudioChunk:
    """A message of int16 samples `[n, channels]` whose first was heard at `stamp_ns`."""
    message = AudioChunk(
        sample_rate_hz=parameters.sample_rate_hz,
        channels=parameters.channels,
        samples=samples.reshape(-1),
    )
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = parameters.frame_id
    return message
