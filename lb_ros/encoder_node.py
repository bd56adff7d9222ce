"""One sensor's node: it listens, hands messages to the worker and publishes embeddings."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from rclpy.node import Node

from encoders import MODALITIES
from lb_ros.diagnostics import publish_diagnostics
from lb_ros.encoding import Encoded, EncodingWorker
from lb_ros.health import Status
from lb_ros.msg import Embedding
from lb_ros.own_microphone import OwnMicrophone
from lb_ros.qos import ALIVE, CHUNKS, LIVELINESS_S, NEWEST
from lb_ros.sensor_input import SensorInput
from lb_ros.stamps import to_stamp

__all__ = ['CHUNKS', 'NEWEST', 'EncoderNode']


class EncoderNode(Node):
    """Node of one modality: `<sensor>_encoder`.

    Its callbacks only store; the worker of the process does the work. Call `publish` with every
    embedding of this modality.
    """

    def __init__(self, modality: str, **node_options: Any) -> None:
        self.modality = MODALITIES[modality]
        super().__init__(f'{self.modality.sensor}_encoder', **node_options)
        self._worker: EncodingWorker | None = None
        self._publisher = self.create_publisher(Embedding, f'embeddings/{modality}', ALIVE)
        self.input = SensorInput(self, modality)
        self._microphone = OwnMicrophone(self, self.input.store) if modality == 'audio' else None
        publish_diagnostics(self, self.statuses)
        self.create_timer(LIVELINESS_S / 3, self._assert_liveliness)

    def connect(self, worker: EncodingWorker, *, max_age_ms: float = 1000.0) -> None:
        """Begin to feed a worker."""
        self._worker = worker
        self.input.attach(worker, max_age_ms=max_age_ms)

    def statuses(self) -> list[Status | None]:
        """What `/diagnostics` says of this input."""
        status = self.input.status()
        if status is None or self._microphone is None:
            return [status]
        values = {**status.values, 'capture_gaps': str(self._microphone.gaps)}
        return [replace(status, values=values)]

    def destroy_node(self) -> None:
        """Let go of the sound device as well."""
        if self._microphone is not None:
            self._microphone.close()
        super().destroy_node()

    def _assert_liveliness(self) -> None:
        worker = self._worker
        busy = None if worker is None else worker.busy_with()
        hangs = busy is not None and time.monotonic() - busy[1] > LIVELINESS_S
        if worker is not None and worker.is_alive and not hangs:
            self._publisher.assert_liveliness()

    def publish(self, encoded: Encoded) -> None:
        """Publish an embedding of this modality."""
        assert self._worker is not None
        binder = self._worker.binder
        message = Embedding(
            modality=encoded.modality,
            model=binder.model,
            language_space=binder.space,
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
