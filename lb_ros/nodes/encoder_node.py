"""Node of one modality: passes messages to the worker and publishes embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from encoders import MODALITIES, ModelSetError, SpaceError
from encoders.decode.followed import Followed
from lb_ros.engine.arrival import Encoded
from lb_ros.engine.health import Status
from lb_ros.engine.worker import STOP_S, EncodingWorker
from lb_ros.nodes.outputs import Outputs
from lb_ros.nodes.overlay import Overlay
from lb_ros.nodes.own_microphone import OwnMicrophone
from lb_ros.nodes.sensor_input import SensorInput
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.ros.diagnostics import publish_diagnostics
from lb_ros.ros.input_parameters import declare_input_parameters
from lb_ros.ros.lifecycle import FAILURE, SUCCESS, Transitions, attempt
from lb_ros.ros.parameters import Settings
from lb_ros.ros.picture_topics import PictureMessage
from lb_ros.ros.qos import LIVELINESS_S
from lb_ros.ros.timers import every

LOAD_ERRORS = (ModelSetError, SpaceError, KeyError, ValueError, ModuleNotFoundError, OSError)


class EncoderNode(LifecycleNode):
    """Node of one modality: `<sensor>_encoder`.

    Its callbacks only store messages; the worker of the process encodes them. Call `publish` with
    every embedding of this modality. Subscriptions always exist; messages that arrive while the
    node is not active are ignored.
    """

    def __init__(self, modality: str, **node_options: Any) -> None:
        self.modality = MODALITIES[modality]
        # Set before anything can fail: since Kilted, rclpy also destroys partly constructed nodes.
        self._overlays: list[Overlay] = []
        self._microphone: OwnMicrophone | None = None
        super().__init__(f'{self.modality.sensor}_encoder', **node_options)
        self._settings: Settings | None = None
        self.transitions = Transitions(self, answer_within_s=self._answer_within_s)
        self._model: SharedModel | None = None
        self._worker: EncodingWorker | None = None
        self._sensors: dict[str, str] = {}
        self._inputs: tuple[str, ...] = ()
        self._is_open = False
        self._outputs = {modality: Outputs(self, modality)}
        self._input_parameters = declare_input_parameters(self, modality)
        self._sensor_inputs: tuple[SensorInput, ...] = ()
        publish_diagnostics(self, self.statuses)
        every(self, LIVELINESS_S / 4, self._assert_liveliness)

    def connect(
        self,
        model: SharedModel,
        settings: Settings,
        *,
        inputs: Sequence[str],
        regions: Sequence[Followed] = (),
    ) -> None:
        """Set the model set, the settings and the inputs; call it before the first transition.

        Args:
            model: Model set of the process.
            settings: Settings of the process.
            inputs: Topics, one per sensor.
            regions: Parts of the view of the first one that are sensors of their own.
        """
        self._model, self._settings, self._inputs = model, settings, tuple(inputs)
        self._outputs |= {
            each.region.sensor: Outputs(self, each.region.sensor) for each in regions
        }
        several = len(self._inputs) > 1
        self._sensor_inputs = tuple(
            SensorInput(
                self,
                self.modality.name,
                topic=topic,
                parameters=self._input_parameters,
                source=topic if several else '',
                look=self._overlay(topic),
                regions=regions if place == 0 else (),
            )
            for place, topic in enumerate(self._inputs)
        )
        if self.modality.kind == 'series':
            self.create_service(Trigger, f'{self.get_name()}/tare', self._tare)
        if self.modality.kind == 'sound':
            self._microphone = OwnMicrophone(self, self._sensor_inputs[0].store)

    def _overlay(self, topic: str) -> Callable[[PictureMessage], None]:
        if self.modality.kind != 'image':  # for video, the camera's image node draws the overlay
            return lambda message: None
        options = self._input_parameters.images
        overlay = Overlay(
            self, self.modality.name, topic=topic, options=options, why=self._overlay_why
        )
        self._overlays.append(overlay)
        return overlay.look

    def _overlay_why(self) -> str:
        return '' if self._settings is None else self._settings.values.overlay_why

    def _answer_within_s(self) -> float:
        return 0.0 if self._settings is None else self._settings.values.answer_within_s

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model set and warm it up, unless another node of the process has done so."""
        outcome = attempt(self, self.transitions, self._configure, *LOAD_ERRORS)
        if outcome is not SUCCESS and self._model is not None:
            self._model.release(self.get_name())
        return outcome

    def _configure(self) -> None:
        assert self._model is not None, 'connect comes first'
        self._model.acquire(self.get_name(), progress=self.transitions.tell)
        worker = self._model.worker_for(self.get_name())
        self._sensors = {each.topic: each.attach(worker) for each in self._sensor_inputs}
        self._worker = worker

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start accepting messages."""
        if self._worker is None:
            return FAILURE
        self._open(True)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop accepting messages; wait a limited time for the one that is being encoded."""
        self._close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model set; it is freed by the last node of the process."""
        self._close()
        for each in self._sensor_inputs:
            each.detach()
        self._worker, self._sensors = None, {}
        if self._model is not None:
            self._model.release(self.get_name())
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do the work of `on_cleanup`."""
        self.on_cleanup(state)
        return super().on_shutdown(state)

    def _open(self, is_open: bool) -> None:
        self._is_open = is_open
        for each in self._sensor_inputs:
            each.is_open = is_open
        if self._microphone is not None:
            self._microphone.open(is_open)

    def _close(self) -> None:
        self._open(False)
        for sensor in self._sensors.values():
            assert self._worker is not None
            if not self._worker.drop_waiting(sensor):
                self.get_logger().warning(f'{sensor} is still being encoded after {STOP_S} s')

    def publish(self, encoded: Encoded) -> None:
        """Publish an embedding of this modality or of a part, unless the node is not active."""
        if self._is_open:
            source = self.resolve_topic_name(encoded.source or self._inputs[0])
            self._outputs[encoded.modality].publish(encoded, source=source)

    def is_heard(self, sensor: str) -> bool:
        """Whether embeddings of the modality or of a part have subscribers."""
        return self._outputs[sensor].is_heard

    def tokens_are_heard(self, sensor: str) -> bool:
        """Whether tokens of the modality or of a part have subscribers."""
        return self._outputs[sensor].tokens_are_heard

    def statuses(self) -> list[Status | None]:
        """Return the inputs' entries of `/diagnostics`; None for each while not active."""
        found = [status for each in self._sensor_inputs for status in each.statuses()]
        if self._microphone is None or found[0] is None:
            return found
        values = {**found[0].values, 'capture_gaps': str(self._microphone.gaps)}
        return [replace(found[0], values=values), *found[1:]]

    def _tare(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = '; '.join(each.tare() for each in self._sensor_inputs)
        except ValueError as error:
            response.message = str(error)
            return response
        response.success = True
        self.get_logger().info(f'tared: {response.message}')
        return response

    def destroy_node(self) -> None:
        """Destroy the node; also close the overlays and the audio device."""
        for overlay in self._overlays:
            overlay.close()
        if self._microphone is not None:
            self._microphone.close()
        super().destroy_node()

    def _assert_liveliness(self) -> None:
        worker = self._worker
        busy = None if worker is None else worker.busy_with()
        hangs = busy is not None and time.monotonic() - busy[1] > LIVELINESS_S
        if worker is not None and worker.is_alive and not hangs:
            for outputs in self._outputs.values():
                outputs.assert_liveliness()
