"""The microphone that `microphone_encoder` opens itself, and the parameter that disables it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter

from lb_ros.engine.capture import Capture
from lb_ros.msg import AudioChunk
from lb_ros.nodes.microphone_node import chunk_message, open_capture
from lb_ros.parameter_table import RECORDS, MicrophoneParameters
from lb_ros.ros.parameters import declare_parameter

SWITCH = 'capture'
POLL_S = 0.02


class OwnMicrophone:
    """Records directly, without a topic, so that raw audio is never published.

    Parameters of the node: `capture` (bool, off by default; can change at any time, and off closes
    the device at once), `capture_device` (part of its name), `audio_rate_hz`, `audio_channels`.

    Args:
        node: Owner of the parameters; those of the input must be declared already.
        store: Receives every chunk.
    """

    def __init__(self, node: Node, store: Callable[[AudioChunk], None]) -> None:
        self._node, self._store = node, store
        self._capture: Capture | None = None
        self._is_open = False
        self._parameters = MicrophoneParameters(
            device=declare_parameter(node, RECORDS['capture_device']),
            sample_rate_hz=node.get_parameter('audio_rate_hz').value,
            channels=node.get_parameter('audio_channels').value,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(POLL_S, self._poll, clock=steady, autostart=False)
        node.add_on_set_parameters_callback(self._switch)
        declare_parameter(node, RECORDS[SWITCH])

    @property
    def gaps(self) -> int:
        """Number of gaps and dropped chunks in the audio."""
        return 0 if self._capture is None else self._capture.gaps + self._capture.dropped

    def close(self) -> None:
        """Close the device."""
        if self._capture is not None:
            self._capture.close()
        self._capture = None
        self._timer.cancel()

    def open(self, is_open: bool) -> None:
        """Follow the node's activation; the device is closed while the node is not active.

        Raises nothing: a missing device is logged, and tried again when `capture` is switched on.
        """
        self._is_open = is_open
        self.close()
        if is_open and self._node.get_parameter(SWITCH).value:
            try:
                self._start()
            except (ModuleNotFoundError, ValueError) as error:
                self._node.get_logger().error(str(error))

    def _start(self) -> None:
        self._capture = open_capture(self._node, self._parameters)
        self._capture.start()
        self._timer.reset()
        if self._node.executor is not None:
            self._node.executor.wake()

    def _switch(self, changed: Sequence[Parameter]) -> SetParametersResult:
        for parameter in changed:
            if parameter.name != SWITCH:
                continue
            self.close()
            if not parameter.value:
                continue
            try:
                self._start()  # even if the node is not active, so that errors are reported now
                if not self._is_open:
                    self.close()
            except (ModuleNotFoundError, ValueError) as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _poll(self) -> None:
        if self._capture is None:
            return
        for recorded in self._capture.poll():
            self._store(chunk_message(recorded.samples, recorded.stamp_ns, self._parameters))
