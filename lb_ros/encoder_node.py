"""One modality's node: it listens, hands messages to the worker and publishes embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from encoders import MODALITIES, ModelSetError, SpaceError
from lb_ros.encoding import Arrival, Encoded, EncodingWorker
from lb_ros.lifecycle import FAILURE, SUCCESS, Transitions, attempt
from lb_ros.msg import AudioChunk, Embedding
from lb_ros.parameters import Settings
from lb_ros.shared import SharedModel
from lb_ros.stamps import to_ns, to_stamp

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
# Every chunk of sound counts; two seconds of them wait for a busy process.
CHUNKS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.BEST_EFFORT
)
LOAD_ERRORS = (ModelSetError, SpaceError, KeyError, ValueError, ModuleNotFoundError, OSError)
# `deactivate` waits this long for what is being encoded.
STOP_S = 2.0


class EncoderNode(LifecycleNode):
    """Node of one modality: `<sensor>_encoder`.

    Its callbacks only store; the worker of the process does the work. Call `publish` with every
    embedding of this modality. Subscriptions exist all the time; what arrives while the node is
    not active is ignored.
    """

    def __init__(self, modality: str, **node_options: Any) -> None:
        self.modality = MODALITIES[modality]
        super().__init__(f'{self.modality.sensor}_encoder', **node_options)
        self._settings: Settings | None = None
        self.transitions = Transitions(self, answer_within_s=self._answer_within_s)
        self._model: SharedModel | None = None
        self._worker: EncodingWorker | None = None
        self._sensors: dict[str, str] = {}
        self._inputs: tuple[str, ...] = ()
        self._is_open = False
        self._publisher = self.create_lifecycle_publisher(
            Embedding, f'embeddings/{modality}', NEWEST
        )

    def connect(self, model: SharedModel, settings: Settings, *, inputs: Sequence[str]) -> None:
        """Say who encodes and where messages come from; before the first transition.

        Args:
            model: Of the process.
            settings: Of the process.
            inputs: Topics, one per sensor.
        """
        self._model, self._settings, self._inputs = model, settings, tuple(inputs)
        for topic in self._inputs:
            for name, kind in self._forms(topic):
                qos = CHUNKS if self.modality.kind == 'sound' else NEWEST
                self.create_subscription(kind, name, partial(self._store, topic), qos)

    def _answer_within_s(self) -> float:
        return 0.0 if self._settings is None else self._settings.values.answer_within_s

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model set, unless another node of the process has, and warm it up."""
        outcome = attempt(self, self.transitions, self._configure, *LOAD_ERRORS)
        if outcome is not SUCCESS and self._model is not None:
            self._model.release(self.get_name())
        return outcome

    def _configure(self) -> None:
        assert self._model is not None, 'connect comes first'
        self.transitions.activity = 'loading the model set'
        self._model.acquire(self.get_name())
        worker = self._model.worker_for(self.get_name())
        several = len(self._inputs) > 1
        self._sensors = {
            topic: worker.add_sensor(self.modality.name, source=topic if several else '')
            for topic in self._inputs
        }
        self._worker = worker

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take messages."""
        if self._worker is None:
            return FAILURE
        self._is_open = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking messages, and wait a bounded time for the one that is being encoded."""
        self._close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model set; the last node of the process frees it."""
        self._close()
        self._worker, self._sensors = None, {}
        if self._model is not None:
            self._model.release(self.get_name())
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        self.on_cleanup(state)
        return super().on_shutdown(state)

    def _close(self) -> None:
        self._is_open = False
        for sensor in self._sensors.values():
            assert self._worker is not None
            if not self._worker.drop_waiting(sensor, timeout_s=STOP_S):
                self.get_logger().warning(f'{sensor} is still being encoded after {STOP_S} s')

    def publish(self, encoded: Encoded) -> None:
        """Publish an embedding of this modality; nothing while the node is not active."""
        if not self._is_open:
            return
        message = Embedding(
            modality=encoded.modality,
            source=self.resolve_topic_name(encoded.source or self._inputs[0]),
            model=encoded.model,
            language_space=encoded.space,
            vector=encoded.vector.tolist(),
            window_start=to_stamp(encoded.window_start_ns),
            valid_fraction=encoded.valid_fraction,
            wait_ms=encoded.wait_ms,
            decode_ms=encoded.decode_ms,
            preprocess_ms=encoded.preprocess_ms,
            encode_ms=encoded.encode_ms,
        )
        message.header.stamp = to_stamp(encoded.stamp_ns)
        message.header.frame_id = encoded.frame_id
        self._publisher.publish(message)

    def _forms(self, topic: str) -> list[tuple[str, type]]:
        if self.modality.kind == 'sound':
            return [(topic, AudioChunk)]
        compressed = [(f'{topic}/compressed', CompressedImage)]
        if self.modality.name == 'depth':
            compressed.append((f'{topic}/compressedDepth', CompressedImage))
        return [(topic, Image), *compressed]

    def _store(self, topic: str, message: Any) -> None:
        worker = self._worker
        if not self._is_open or worker is None:
            return
        header = message.header
        stamp_ns = to_ns(header.stamp) or self.get_clock().now().nanoseconds
        arrival = Arrival(message, stamp_ns, header.frame_id, time.monotonic())
        worker.put(self._sensors[topic], arrival)
