"""The node `microphone`: sound from a local device as a stream of chunks."""

from __future__ import annotations

import queue
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from lb_ros.encoder_node import CHUNKS
from lb_ros.lifecycle import Transitions, attempt
from lb_ros.msg import AudioChunk
from lb_ros.parameters import declare_parameter
from lb_ros.stamps import to_stamp

HOW_TO_GET_PORTAUDIO = 'on Debian: apt install libportaudio2'


@dataclass(frozen=True, slots=True)
class MicrophoneParameters:
    """Values of the node's parameters.

    Attributes:
        device: Part of the name of an input device; the system's default where empty.
        sample_rate_hz: Samples per second and channel.
        channels: 1 or more.
        chunk_ms: Length of a message.
        frame_id: Of the microphone.
        autostart: Configure and activate at the start; False leaves it to a lifecycle manager.
    """

    device: str = ''
    sample_rate_hz: int = 16_000
    channels: int = 1
    chunk_ms: int = 100
    frame_id: str = 'microphone'
    autostart: bool = True


class MicrophoneNode(LifecycleNode):
    """Publishes `microphone/audio` while it is active; the device is open while it is configured.

    Raises:
        ValueError: A parameter is wrong.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('microphone', **node_options)
        self.parameters = self._declare()
        self.transitions = Transitions(self, answer_within_s=lambda: 0.0)
        self._publisher = self.create_lifecycle_publisher(AudioChunk, 'microphone/audio', CHUNKS)
        # The sound driver calls from its own thread and must not wait for the middleware.
        self._recorded: queue.SimpleQueue[tuple[NDArray[np.int16], int]] = queue.SimpleQueue()
        self._lost = 0
        self._stream: Any = None
        self.create_timer(0.02, self._publish)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the device."""

        def work() -> None:
            self._stream = self._open()

        return attempt(self, self.transitions, work, ModuleNotFoundError, ValueError)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to record."""
        outcome = super().on_activate(state)
        self._stream.start()
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop recording."""
        self._stream.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the device."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        self.on_cleanup(state)
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Close the device as well."""
        if self._stream is not None:
            self._stream.close()
        super().destroy_node()

    def _declare(self) -> MicrophoneParameters:
        values = {
            field.name: declare_parameter(
                self, field.name, field.default, ParameterDescriptor(read_only=True)
            )
            for field in fields(MicrophoneParameters)
        }
        return MicrophoneParameters(**values)

    def _open(self) -> Any:
        sounddevice = load_sounddevice()
        wanted = self.parameters
        try:
            return sounddevice.InputStream(
                device=wanted.device or None,
                samplerate=wanted.sample_rate_hz,
                channels=wanted.channels,
                blocksize=wanted.sample_rate_hz * wanted.chunk_ms // 1000,
                dtype='int16',
                callback=self._store,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise ValueError(
                f'microphone {wanted.device or "(default)"!r}, {wanted.sample_rate_hz} Hz, '
                f'{wanted.channels} channels: {error}'
            ) from error

    def _store(self, samples: NDArray[np.int16], count: int, times: Any, status: Any) -> None:
        # `inputBufferAdcTime` counts on PortAudio's clock; only its distance to now is used.
        age_ns = round((times.currentTime - times.inputBufferAdcTime) * 1e9)
        stamp_ns = self.get_clock().now().nanoseconds - max(0, age_ns)
        self._lost += int(bool(status))
        self._recorded.put((samples.copy(), stamp_ns))

    def _publish(self) -> None:
        while not self._recorded.empty():
            samples, stamp_ns = self._recorded.get()
            self._publisher.publish(chunk_message(samples, stamp_ns, self.parameters))
        if self._lost:
            self.get_logger().warning(f'sound was lost {self._lost} times: the machine is busy')
            self._lost = 0


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


def load_sounddevice() -> Any:
    """The module sounddevice, which loads the PortAudio library.

    Raises:
        ModuleNotFoundError: One of them is missing; the text says how to get it.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'microphone capture needs the package sounddevice: pip install sounddevice'
        ) from error
    except OSError as error:
        raise ModuleNotFoundError(
            f'microphone capture needs the PortAudio library; {HOW_TO_GET_PORTAUDIO}'
        ) from error
    return sounddevice
