"""A client of `predicates/attention` that finds the image to which an answer belongs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from lb_ros.ros.picture_topics import PictureMessage
from lb_ros.ros.stamps import to_ns
from lb_ros.srv import GetAttention

SERVICE = 'predicates/attention'
# An answer is about one of the last images: the newest that has been encoded.
KEPT = 16
GIVE_UP_S = 2.0
# After an error the next question waits, so that a node without an answer is not kept busy.
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Heat:
    """The attention to one predicate.

    Attributes:
        caption: The predicate, or the reason why there is no attention.
        attention: Shares, float32 `[rows, columns]`; None if there is no answer.
        central_square: Whether they cover only the central square of the image.
    """

    caption: str
    attention: NDArray[np.float32] | None = None
    central_square: bool = False


class AttentionClient:
    """Asks for the attention to a predicate, one question at a time; used on the executor.

    Args:
        node: Owner of the client, which exists only while it is used.
        modality: Modality of the images.
        topic: Topic of the sensor.
        then: Called with an image and the attention over it.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        *,
        topic: str,
        then: Callable[[PictureMessage, Heat], None],
    ) -> None:
        self._node, self._modality, self._topic, self._then = node, modality, topic, then
        self._recent: deque[PictureMessage] = deque(maxlen=KEPT)
        self._client: Client | None = None
        self._asked: Future | None = None
        self._next_s = 0.0

    def keep(self, message: PictureMessage) -> None:
        """Accept an image that a later answer may be about."""
        self._recent.append(message)

    def ask(self, text: str) -> None:
        """Ask for the attention to a predicate in the newest image, unless an answer is due."""
        now_s = time.monotonic()
        if now_s < self._next_s or not self._recent:
            return
        if self._client is None:
            self._client = self._node.create_client(GetAttention, SERVICE)
        if self._asked is not None:
            self._client.remove_pending_request(self._asked)
        if not self._client.service_is_ready():
            self._next_s, self._asked = now_s + RETRY_S, None
            self._then(self._recent[-1], Heat(f'no service {SERVICE}'))
            return
        request = GetAttention.Request(
            text=text,
            modality=self._modality,
            source=self._node.resolve_topic_name(self._topic),
        )
        self._next_s = now_s + GIVE_UP_S
        asked: Future = self._client.call_async(request)
        self._asked = asked
        asked.add_done_callback(lambda future: self._answered(text, future))

    def close(self) -> None:
        """Forget the images and destroy the client."""
        self._recent.clear()
        if self._client is not None:
            self._node.destroy_client(self._client)
        self._client = self._asked = None

    def _answered(self, text: str, future: Future) -> None:
        if self._asked is None or future is not self._asked:  # given up, or closed
            return
        self._asked, self._next_s = None, 0.0
        answer = future.result()
        if answer is None or not self._recent:
            return
        if not answer.success:
            self._next_s = time.monotonic() + RETRY_S
            self._then(self._recent[-1], Heat(answer.message))
            return
        shares = np.array(answer.attention, np.float32).reshape(answer.rows, answer.columns)
        heat = Heat(f'where: {text}', shares, answer.central_square)
        stamp_ns = to_ns(answer.stamp)
        # An image without a stamp gets that of its arrival; then the newest image is shown.
        about = (m for m in reversed(self._recent) if to_ns(m.header.stamp) == stamp_ns)
        self._then(next(about, self._recent[-1]), heat)
