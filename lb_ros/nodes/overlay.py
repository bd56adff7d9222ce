"""A sensor's images with the predicates next to them; drawn only while there are subscribers.

The attention to one predicate can be drawn over the images (parameter `overlay_why`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage

from encoders import State
from encoders.decode import DecodeError, ImageOptions, decode_image
from encoders.predicates.score_arrays import scores_in
from encoders.predicates.state_arrays import states_in
from lb_ros.engine.background import background_pool
from lb_ros.msg import PredicateScores, PredicateStates
from lb_ros.nodes.attention_client import AttentionClient, Heat
from lb_ros.nodes.overlay_picture import Row, draw_overlay, jpeg_of
from lb_ros.ros.picture_topics import PictureMessage
from lb_ros.ros.qos import LATCHED, Matched

MAX_RATE_HZ = 15.0


class Overlay:
    """Topic `overlay/<topic of the sensor>/compressed` (`sensor_msgs/CompressedImage`, JPEG).

    Without a subscriber it costs one comparison per message: scores are subscribed to, and images
    decoded and drawn, only while there is one. A low-priority thread draws the newest image and
    skips those that arrive meanwhile.

    Args:
        node: Owner of the publisher.
        modality: Modality of images.
        topic: Topic of the sensor.
        options: Options for decoding its messages.
        why: Returns the predicate or sentence whose attention is drawn; empty for none.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        *,
        topic: str,
        options: ImageOptions,
        why: Callable[[], str] = str,
    ) -> None:
        self._node, self._modality, self._options = node, modality, options
        self._is_watched = self._is_drawing = False
        self._next_s = 0.0
        self._scores: dict[str, float] = {}
        self._states: dict[str, State] = {}
        self._subscriptions: list[Subscription] = []
        self._pool: ThreadPoolExecutor | None = None
        self._why = why
        self._attention = AttentionClient(node, modality, topic=topic, then=self._explained)
        self._publisher = node.create_publisher(
            CompressedImage,
            f'overlay/{topic.lstrip("/")}/compressed',
            QoSProfile(depth=1),
            event_callbacks=PublisherEventCallbacks(matched=self._matched),
        )

    def look(self, message: PictureMessage) -> None:
        """Accept a message of the sensor without blocking."""
        if not self._is_watched:
            return
        why = self._why()
        if why:
            self._attention.keep(message)
        if self._is_drawing or time.monotonic() < self._next_s:
            return
        if why:
            self._attention.ask(why)
        else:
            self._submit(message, None)

    def close(self) -> None:
        """Finish the current drawing; publish nothing afterwards."""
        self._is_watched = False
        if self._pool is not None:
            self._pool.shutdown()

    def _explained(self, message: PictureMessage, heat: Heat) -> None:
        if self._is_watched and not self._is_drawing:
            self._submit(message, heat)

    def _submit(self, message: PictureMessage, heat: Heat | None) -> None:
        if self._pool is not None:
            self._next_s = time.monotonic() + 1 / MAX_RATE_HZ
            self._is_drawing = True
            self._pool.submit(self._draw, message, heat)

    def _matched(self, event: Matched) -> None:
        watched = event.current_count > 0
        if watched and not self._subscriptions:
            self._pool = self._pool or background_pool('overlay')
            subscribe = self._node.create_subscription
            self._subscriptions = [
                subscribe(PredicateScores, 'predicates/scores', self._score, QoSProfile(depth=1)),
                subscribe(PredicateStates, 'predicates/state', self._state, LATCHED),
            ]
        elif not watched:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._attention.close()
        self._is_watched = watched

    def _score(self, message: PredicateScores) -> None:
        scores = scores_in(message)
        self._scores = dict(zip(scores.names, scores.fused.tolist(), strict=True))

    def _state(self, message: PredicateStates) -> None:
        self._states = {name: each.state for name, each in states_in(message).items()}

    def _draw(self, message: PictureMessage, heat: Heat | None) -> None:
        from train.score.heat_map import draw_heat
        from train.score.thumbnail import picture_of

        try:
            raw = decode_image(message, modality=self._modality, options=self._options).array
            states, scores = self._states, self._scores
            rows = [Row(n, scores.get(n, float('nan')), state) for n, state in states.items()]
            picture, caption = picture_of(self._modality, raw), ''
            if heat is not None:
                caption = heat.caption
                if heat.attention is not None:
                    covers = heat.central_square
                    picture = draw_heat(picture, heat.attention, central_square=covers)
            drawn = draw_overlay(picture, rows, caption=caption)
            answer = CompressedImage(header=message.header, format='jpeg', data=jpeg_of(drawn))
            if self._is_watched:
                self._publisher.publish(answer)
        except (DecodeError, InvalidHandle):
            pass  # the sensor's input reports a DecodeError; InvalidHandle: the node is destroyed
        finally:
            self._is_drawing = False
