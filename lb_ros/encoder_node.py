"""One sensor's node: it listens, hands messages to the worker and publishes embeddings."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from encoders import MODALITIES
from lb_ros.encoding import Arrival, Encoded, EncodingWorker
from lb_ros.msg import AudioChunk, Embedding
from lb_ros.stamps import to_ns, to_stamp

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
# Every chunk of sound counts; two seconds of them wait for a busy process.
CHUNKS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.BEST_EFFORT
)


class EncoderNode(Node):
    """Node of one modality: `<sensor>_encoder`.

    Its callbacks only store; the worker of the process does the work. Call `publish` with every
    embedding of this modality.
    """

    def __init__(self, modality: str, **node_options: Any) -> None:
        self.modality = MODALITIES[modality]
        super().__init__(f'{self.modality.sensor}_encoder', **node_options)
        self._worker: EncodingWorker | None = None
        self._publisher = self.create_publisher(Embedding, f'embeddings/{modality}', NEWEST)

    def connect(self, worker: EncodingWorker) -> None:
        """Begin to listen and feed a worker."""
        worker.add_sensor(self.modality.name)
        self._worker = worker
        for topic, kind in self._inputs():
            qos = CHUNKS if self.modality.kind == 'sound' else NEWEST
            self.create_subscription(kind, topic, self._store, qos)

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

    def _inputs(self) -> list[tuple[str, type]]:
        topic = self.modality.topic
        if self.modality.kind == 'sound':
            return [(topic, AudioChunk)]
        compressed = [(f'{topic}/compressed', CompressedImage)]
        if self.modality.name == 'depth':
            compressed.append((f'{topic}/compressedDepth', CompressedImage))
        return [(topic, Image), *compressed]

    def _store(self, message: Any) -> None:
        assert self._worker is not None
        header = message.header
        stamp_ns = to_ns(header.stamp) or self.get_clock().now().nanoseconds
        arrival = Arrival(message, stamp_ns, header.frame_id, time.monotonic())
        self._worker.put(self.modality.name, arrival)
