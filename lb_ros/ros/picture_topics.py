"""Subscriptions to one sensor's images: the raw topic, or one of its compressed forms.

A driver with image_transport compresses every image while a compressed form has a subscriber,
even if the raw topic carries the same image. So only one compressed form is subscribed to, and
only while the raw topic has no publisher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from encoders import MODALITIES
from lb_ros.engine.throttle import Clock
from lb_ros.parameter_table import AUTO, COMPRESSED, RAW
from lb_ros.ros.qos import NEWEST, subscribe
from lb_ros.ros.stamps import to_ns

# A driver announces its topics one after the other, in any order: a compressed form is subscribed
# to after the raw one has been missing for this long.
SETTLE_S = 0.4
PictureMessage: TypeAlias = Image | CompressedImage
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'


def compressed_forms(modality: str) -> tuple[str, ...]:
    """Return the suffixes of the compressed forms of a modality's images, the best one first."""
    is_depth = MODALITIES[modality].pixels == 'depth'
    return ('compressedDepth', 'compressed') if is_depth else ('compressed',)


def wanted_forms(
    transport: str, forms: Sequence[str], publishers: Mapping[str, int]
) -> frozenset[str]:
    """Return the forms to subscribe to.

    The raw form stays subscribed while it has no publisher, so that a new one is noticed at once.

    Args:
        transport: One of `lb_ros.parameter_table.TRANSPORTS`.
        forms: Compressed forms, the best one first.
        publishers: Number of publishers of each form and of `raw`.
    """
    if transport == RAW or (transport == AUTO and publishers[RAW]):
        return frozenset({RAW})
    published = [form for form in forms if publishers[form]]
    if transport == COMPRESSED:
        return frozenset(published[:1] or forms[:1])
    return frozenset({RAW, *published[:1]})


class PictureTopics:
    """Subscribes to one sensor's images in one form at a time; call `look` regularly.

    Args:
        node: Owner of the subscriptions.
        modality: Modality of images.
        topic: Relative name of the raw topic. The compressed forms are below the name to which it
            is remapped, unless they are remapped themselves.
        transport: `raw`, `compressed`, or `auto`: compressed only while raw has no publisher.
        store: Receives every message once.
        on_mismatch: Called with a topic and the QoS policy in which its publisher is incompatible.
        on_change: Called with the new form when it changes.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        topic: str,
        *,
        transport: str = AUTO,
        store: Callable[[PictureMessage], None],
        on_mismatch: Callable[[str, str], None] = lambda topic, policy: None,
        on_change: Callable[[str], None] = lambda form: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._node, self._transport, self._store = node, transport, store
        self._on_mismatch, self._on_change, self._clock = on_mismatch, on_change, clock
        self._forms = compressed_forms(modality)
        self._names = {RAW: topic}
        self._names |= {form: _compressed_name(node, topic, form) for form in self._forms}
        self._open: dict[str, Subscription] = {}
        self._raw_publishers = 0
        self._pending: tuple[frozenset[str], float] = (frozenset(), 0.0)
        self._taken: tuple[str, int] = ('', 0)
        self.form = ''
        nothing = dict.fromkeys((RAW, *self._forms), 0)
        for form in wanted_forms(transport, self._forms, nothing):
            self._subscribe(form)

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """Current subscriptions by topic."""
        return {self._names[form]: subscription for form, subscription in self._open.items()}

    @property
    def topics(self) -> list[str]:
        """Full names of all forms that may be subscribed to."""
        forms = {AUTO: [RAW, *self._forms], RAW: [RAW], COMPRESSED: self._forms}[self._transport]
        return [self._node.resolve_topic_name(self._names[form]) for form in forms]

    @property
    def kinds(self) -> list[str]:
        """Message types of these topics."""
        image = 'sensor_msgs/msg/Image'
        return {AUTO: [image, COMPRESSED_TYPE], RAW: [image], COMPRESSED: [COMPRESSED_TYPE]}[
            self._transport
        ]

    def look(self) -> None:
        """Follow the publishers: leave a form at once, subscribe to another after `SETTLE_S`."""
        wanted = wanted_forms(self._transport, self._forms, self._publishers())
        for form in [form for form in self._open if form not in wanted]:
            self._node.destroy_subscription(self._open.pop(form))
        missing = wanted - self._open.keys()
        if missing != self._pending[0]:
            self._pending = (missing, self._clock())
        elif missing and self._clock() - self._pending[1] >= SETTLE_S:
            for form in missing:
                self._subscribe(form)
        self._tell()

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in self._open.values():
            self._node.destroy_subscription(subscription)
        self._open.clear()

    def _tell(self) -> None:
        compressed = [form for form in self._open if form != RAW]
        # Without any publisher, the form stays unchanged.
        form = RAW if self._raw_publishers else (compressed or [self.form])[0]
        if form != self.form:
            self.form = form
            self._on_change(form)

    def _publishers(self) -> dict[str, int]:
        return {RAW: self._raw_publishers} | {
            form: 0 if self._raw_publishers else self._publishers_of(form) for form in self._forms
        }

    def _publishers_of(self, form: str) -> int:
        topic = self._node.resolve_topic_name(self._names[form])
        if not self._node.count_publishers(topic):  # much cheaper than listing them
            return 0
        infos = self._node.get_publishers_info_by_topic(topic)
        return sum(info.topic_type == COMPRESSED_TYPE for info in infos)

    def _subscribe(self, form: str) -> None:
        def take(message: PictureMessage) -> None:
            self._take(form, message)

        self._open[form] = subscribe(
            self._node,
            Image if form == RAW else CompressedImage,
            self._names[form],
            take,
            qos=NEWEST,
            on_mismatch=self._on_mismatch,
            on_matched=self._raw_matched if form == RAW else None,
        )

    def _raw_matched(self, publishers: int) -> None:
        self._raw_publishers = publishers
        self.look()

    def _take(self, form: str, message: PictureMessage) -> None:
        """Pass a message on, unless the same image arrived in another form during a change."""
        stamp_ns = to_ns(message.header.stamp)
        before, before_ns = self._taken
        if stamp_ns and stamp_ns == before_ns and form != before:
            return
        self._taken = (form, stamp_ns)
        self._store(message)


def _compressed_name(node: Node, topic: str, form: str) -> str:
    """Return the topic on which a compressed form is published.

    A remapping of the raw topic does not apply to the names below it; so they are placed below the
    name to which it is remapped, as in image_transport.
    """
    name = f'{topic}/{form}'
    remapped: str = node.resolve_topic_name(name)
    if remapped != node.resolve_topic_name(name, only_expand=True):
        return remapped
    return f'{node.resolve_topic_name(topic)}/{form}'
