"""The node `microphone`: audio from a local device as a stream of chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from lb_ros.engine.capture import Capture
from lb_ros.msg import AudioChunk
from lb_ros.parameter_table import MicrophoneParameters
from lb_ros.ros.lifecycle import Transitions, attempt
from lb_ros.ros.parameters import declare_parameters
from lb_ros.ros.qos import CHUNKS
from lb_ros.ros.stamps import to_stamp


class MicrophoneNode(LifecycleNode):
    """Publishes `microphone/audio` while it is active; the device is open while it is configured.

    Raises:
        ValueError: A parameter is invalid.
    """

    def __init__(self, **node_options: Any) -> None:
        # Set before anything can fail: since Kilted, rclpy also destroys partly constructed nodes.
        self._capture: Capture | None = None
        super().__init__('microphone', **node_options)
        self.parameters = declare_parameters(self, MicrophoneParameters)
        self.transitions = Transitions(self, answer_within_s=lambda: 0.0)
        self._publisher = self.create_lifecycle_publisher(AudioChunk, 'microphone/audio', CHUNKS)
        self._told = 0
        self.create_timer(0.02, self._publish)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the device."""

        def work() -> None:
            self._capture = open_capture(self, self.parameters)

        return attempt(self, self.transitions, work, ModuleNotFoundError, ValueError)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start recording."""
        outcome = super().on_activate(state)
        assert self._capture is not None
        self._capture.start()
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop recording."""
        if self._capture is not None:
            self._capture.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the device."""
        if self._capture is not None:
            self._capture.close()
        self._capture = None
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do the work of `on_cleanup`."""
        self.on_cleanup(state)
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Destroy the node; also close the device."""
        if self._capture is not None:
            self._capture.close()
        super().destroy_node()

    def _publish(self) -> None:
        if self._capture is None:
            return
        for recorded in self._capture.poll():
            message = chunk_message(recorded.samples, recorded.stamp_ns, self.parameters)
            self._publisher.publish(message)
        lost = self._capture.gaps + self._capture.dropped
        if lost > self._told:
            self.get_logger().warning(f'sound was lost {lost} times so far')
        self._told = lost


def open_capture(node: Node, parameters: MicrophoneParameters) -> Capture:
    """Open the device that the parameters name, with a node's clock and log; do not start it.

    Raises:
        ModuleNotFoundError: sounddevice or PortAudio is missing; the message explains the remedy.
        ValueError: The device does not exist or does not support this format.
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
    """Return a message of int16 samples `[n, channels]`; `stamp_ns` is the first one's time."""
    message = AudioChunk(
        sample_rate_hz=parameters.sample_rate_hz,
        channels=parameters.channels,
        samples=samples.reshape(-1),
    )
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = parameters.frame_id
    return message
