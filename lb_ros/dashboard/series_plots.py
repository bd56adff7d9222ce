"""Plots of the series of a robot for its page: forces, joints, inertia over the last seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from encoders import MODALITIES, SENSED
from encoders.decode import DecodeError
from encoders.decode.series_stream import SeriesStream
from encoders.decode.window import Cut
from lb_ros.ros.polled import Polled, take_all
from lb_ros.ros.qos import SERIES
from lb_ros.ros.series_topic import TYPES
from lb_ros.ros.stamps import to_ns

SPAN_S = 6.0
PLOT_S = 0.5
# Described channels are not drawn: their topics are those of a file of the robot.
SERIES_SENSORS = tuple(name for name in SENSED if name in TYPES)


class SeriesPlots:
    """Draws the series of a robot while its page is open; call `attend` ten times a second.

    A series has hundreds of messages a second, so that its topics are polled and must not wake
    the executor.

    Args:
        node: Owner of the subscriptions.
        show: Receives stamp, modality and the plot as a JPEG.
        fail: Receives modality and what is wrong with its messages.
        window_s: The length of the windows that the encoder of a modality takes; 0 if unknown.
    """

    def __init__(
        self,
        node: Node,
        *,
        show: Callable[[int, str, bytes], object],
        fail: Callable[[str, str], object],
        window_s: Callable[[str], float],
    ) -> None:
        self._node, self._show, self._fail, self._window_s = node, show, fail, window_s
        self._open: dict[str, tuple[Subscription, SeriesStream]] = {}
        self._drawn_s: dict[str, float] = {}

    def attend(self, watched: bool) -> None:
        """Subscribe while a page is open, and draw what has arrived."""
        if watched and not self._open:
            for modality in SERIES_SENSORS:
                topic = MODALITIES[modality].topic
                subscription = self._node.create_subscription(
                    TYPES[modality], topic, _ignore, SERIES, callback_group=Polled()
                )
                stream = SeriesStream(modality, length_s=SPAN_S)
                self._open[modality] = (subscription, stream)
        elif not watched and self._open:
            for subscription, _ in self._open.values():
                self._node.destroy_subscription(subscription)
            self._open.clear()
        for modality, (subscription, stream) in self._open.items():
            cut = self._take(subscription, stream)
            if cut is not None and time.monotonic() - self._drawn_s.get(modality, 0.0) >= PLOT_S:
                self._draw(modality, stream, cut)

    def _take(self, subscription: Subscription, stream: SeriesStream) -> Cut | None:
        cut = None
        for taken in take_all(subscription):
            stamp_ns = to_ns(taken.message.header.stamp)
            stamp_ns = stamp_ns or self._node.get_clock().now().nanoseconds - taken.waited_ns
            cut = stream.add(taken.message, stamp_ns=stamp_ns)
        return cut

    def _draw(self, modality: str, stream: SeriesStream, cut: Cut) -> None:
        from train.score.thumbnail import series_plot

        self._drawn_s[modality] = time.monotonic()
        try:
            series = stream.window(cut).raw
        except DecodeError as error:
            self._fail(modality, str(error))
            return
        self._show(cut.stamp_ns, modality, series_plot(series, window_s=self._window_s(modality)))


def _ignore(message: Any) -> None:
    """Messages are taken by polling."""
