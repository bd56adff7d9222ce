"""The input of one sensor: subscriptions that follow its publisher, and checks on arrival."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from encoders import MODALITIES
from encoders.decode.channels import topics_of
from encoders.decode.followed import Followed
from encoders.decode.streams import Stream
from encoders.decode.view import Place
from encoders.modalities import DESCRIBED
from encoders.preprocess import Config, is_series
from encoders.regions import FOLLOWED
from lb_ros.engine.arrival import Arrival
from lb_ros.engine.health import Status
from lb_ros.engine.stamp_check import StampCheck
from lb_ros.engine.tare import tare, tared_ns
from lb_ros.engine.worker import EncodingWorker
from lb_ros.msg import AudioChunk
from lb_ros.ros.input_parameters import InputParameters
from lb_ros.ros.message_types import import_type, type_name
from lb_ros.ros.picture_topics import PictureMessage, PictureTopics
from lb_ros.ros.polled import Taken
from lb_ros.ros.qos import CHUNKS, NEWEST, mismatch_line, publishers_line, subscribe
from lb_ros.ros.series_topic import DescribedTopics, SeriesTopic
from lb_ros.ros.stamps import to_ns
from lb_ros.ros.timers import every

LOOK_S = 0.5
SOUND_TYPES = (
    'audio_common_msgs/msg/AudioStamped',
    'audio_common_msgs/msg/AudioDataStamped',
    'audio_common_msgs/msg/AudioData',
)
INFO_TYPE = 'audio_common_msgs/msg/AudioInfo'


class SensorInput:
    """Subscribes to a topic and passes usable messages to the worker.

    The subscriptions exist from the beginning; messages are ignored until a worker is attached,
    and while `is_open` is False.

    Args:
        node: Owner of the subscriptions and parameters.
        modality: Name of the modality.
        topic: Relative name; images are also read from its compressed forms, see `PictureTopics`.
            For `signals`, the name of all their topics, which the model set or a file names.
        parameters: Decoding options and checks of the input.
        source: Distinguishes several sensors of one modality.
        look: Called with every message while the input is open.
        regions: Parts of its view that are sensors of their own.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        *,
        topic: str,
        parameters: InputParameters,
        source: str = '',
        look: Callable[[PictureMessage], None] = lambda message: None,
        regions: Sequence[Followed] = (),
    ) -> None:
        self._node, self._modality, self._source = node, modality, source
        self.topic = self._topic = topic
        self._look_at, self._followed = look, regions
        for followed in regions:
            self._follow(followed)
        self._parameters = parameters
        self._stamps = StampCheck(max_future_ms=self._parameters.max_future_ms)
        self._worker: EncodingWorker | None = None
        self._sensor = ''
        self.is_open = False
        self._mismatches: dict[str, tuple[str, float]] = {}
        self._untyped: set[str] = set()
        self._single: dict[str, Subscription] = {}
        self._info: Subscription | None = None
        self._pictures: PictureTopics | None = None
        self._described: DescribedTopics | None = None
        self._kind = MODALITIES[modality].kind
        if self._kind == 'sound':
            self._subscribe(topic, AudioChunk)
        elif modality == DESCRIBED:
            self._described = DescribedTopics(
                node, store=self.store_all, on_mismatch=self._mismatch, warn=self._warn
            )
            self._single = self._described.subscriptions
        elif self._kind == 'series':
            series = SeriesTopic(
                node, modality, topic, store=self.store_all, on_mismatch=self._mismatch
            )
            self._single[topic] = series.subscription
        else:
            self._pictures = PictureTopics(
                node,
                modality,
                topic,
                transport=parameters.transport,
                store=self.store,
                on_mismatch=self._mismatch,
                on_change=self._tell_form,
            )
        every(node, LOOK_S, self._look)

    def attach(self, worker: EncodingWorker) -> str:
        """Pass messages to a worker from now on; return the sensor's name in the worker.

        Raises:
            KeyError: The worker's model set has no encoder for the modality.
            ValueError: Its described channels name no topic.
        """
        if self._described is not None and not self._sources(worker):
            raise ValueError(
                f'the channels of {self._modality} in {worker.binder.model} name no topic: set '
                f'the parameter signals_channels'
            )
        self._sensor = worker.add_sensor(
            self._modality,
            source=self._source,
            topic=self._node.resolve_topic_name(self._topic),
            images=self._parameters.images,
            sound=self._parameters.sound,
            expectation=self._parameters.expectation,
            video_window_s=self._parameters.video_window_s,
            series=self._parameters.series,
            regions=[each.region for each in self._followed],
        )
        self._worker = worker
        return self._sensor

    def detach(self) -> None:
        """Stop passing messages to the worker."""
        self._worker = None

    def statuses(self) -> list[Status | None]:
        """Return the entries of `/diagnostics`: its own and those of parts; None while closed."""
        worker, status = self._worker, self._status()
        if worker is None or status is None:
            return [None]
        return [status, *(part.status(status) for part in worker.parts(self._sensor))]

    def _status(self) -> Status | None:
        worker = self._worker
        if worker is None or not self.is_open:
            return None
        health = worker.health(self._sensor)
        status = health.status(worker.counters()[self._sensor], why_silent=self._why_silent)
        more: dict[str, str] = {}
        if self._pictures is not None:
            more['transport'] = self._pictures.form or 'none'
        if self._modality == 'infrared':
            images = self._parameters.images
            more['infrared_kind'] = images.infrared_kind
            more['radiometric'] = str(images.radiometric)
        if self._kind == 'series':
            more['tare_age_s'] = self._tare_age_s(worker)
        return replace(status, values={**status.values, **more})

    def tare(self) -> str:
        """Take what the sensor measured last as the values while nothing acts on it.

        Returns:
            What was measured, in one line.

        Raises:
            ValueError: The input is closed, or the sensor moves or has sent too few messages.
        """
        topic = self._node.resolve_topic_name(self._topic)
        if self._worker is None or not self.is_open:
            raise ValueError(f'{topic}: the node is not active')
        try:
            return f'{topic}: {tare(*self._stream(self._worker))}'
        except ValueError as error:
            raise ValueError(f'{topic}: {error}') from error

    def _tare_age_s(self, worker: EncodingWorker) -> str:
        stamp_ns = tared_ns(*self._stream(worker))
        if stamp_ns is None:
            return 'N/A'
        return f'{(self._node.get_clock().now().nanoseconds - stamp_ns) * 1e-9:.1f}'

    def _stream(self, worker: EncodingWorker) -> tuple[Stream, Config]:
        return worker.stream(self._sensor), worker.binder.preprocessing[self._modality]

    def store(self, message: PictureMessage | AudioChunk) -> None:
        """Accept a message without blocking."""
        worker = self._worker
        if worker is None or not self.is_open:
            return
        self._look_at(message)
        now_ns = self._node.get_clock().now().nanoseconds
        arrival = self._checked(worker, message, now_ns=now_ns, arrived_s=time.monotonic())
        if arrival is not None:
            worker.put(self._sensor, replace(arrival, places=self._places(now_ns)))

    def store_all(self, taken: Sequence[Taken]) -> None:
        """Accept the messages of a poll without blocking."""
        worker = self._worker
        if worker is None or not self.is_open:
            return
        now_ns, now_s = self._node.get_clock().now().nanoseconds, time.monotonic()
        checked = (
            self._checked(
                worker,
                each.message,
                now_ns=now_ns - each.waited_ns,
                arrived_s=now_s - each.waited_ns * 1e-9,
            )
            for each in taken
        )
        arrivals = [arrival for arrival in checked if arrival is not None]
        if self._described is not None:  # topics have delays; the newest stamp ends the window
            arrivals.sort(key=lambda arrival: arrival.stamp_ns)
        if arrivals:
            worker.put(self._sensor, *arrivals)

    def _checked(
        self, worker: EncodingWorker, message: Any, *, now_ns: int, arrived_s: float
    ) -> Arrival | None:
        """Return a message with its stamp, or None if it must not be used.

        Args:
            worker: Counts what is refused.
            message: The message.
            now_ns: Time of arrival on the ROS clock.
            arrived_s: The same on the monotonic clock.
        """
        health = worker.health(self._sensor)
        header = getattr(message, 'header', None)
        if header is None:  # the message type has no stamp, so this is not a fault
            health.arrived(stamp_ns=now_ns, now_ns=now_ns, arrived_s=arrived_s)
            return Arrival(message, now_ns, '', arrived_s, stamped=False)
        stamp_ns = to_ns(header.stamp)
        checked = self._stamps.check(stamp_ns, now_ns, max_age_ms=worker.limits.max_age_ms)
        health.arrived(stamp_ns=checked.stamp_ns, now_ns=now_ns, arrived_s=arrived_s)
        if not checked.usable:
            outcome = 'stale' if checked.fault == 'stale' else 'failed'
            worker.refuse(self._sensor, outcome, checked.fault, checked.line)
            return None
        is_back = checked.fault == 'backwards'
        # The stream of a series puts stamps in order and reports those that go back.
        if checked.fault and not (is_back and self._kind == 'series'):
            health.note(checked.fault, checked.line)
            if is_back:
                worker.forget_past(self._sensor)
        return Arrival(
            message, checked.stamp_ns, header.frame_id, arrived_s, stamped=bool(stamp_ns)
        )

    def _follow(self, followed: Followed) -> None:
        """Subscribe to the topic of a region that follows one."""
        region = followed.region
        if not region.follows:
            return

        def take(message: Any) -> None:
            followed.take(message, self._node.get_clock().now().nanoseconds)

        kind = import_type(FOLLOWED[region.follows])
        assert kind is not None, 'sensor_msgs is a dependency'
        subscribe(
            self._node, kind, region.topic, take, qos=NEWEST, on_mismatch=self._region_mismatch
        )

    def _region_mismatch(self, topic: str, policy: str) -> None:
        self._node.get_logger().warning(
            f'{self._modality}: region topic {topic}: a publisher with incompatible {policy}'
        )

    def _places(self, now_ns: int) -> dict[str, Place]:
        """Where the parts of the view are in an image that arrives now."""
        return {each.region.sensor: each.at(now_ns) for each in self._followed}

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """Current subscriptions by topic."""
        return self._single if self._pictures is None else self._pictures.subscriptions

    def _sources(self, worker: EncodingWorker) -> tuple[str, ...]:
        """Topic and field of described channels."""
        config = worker.binder.preprocessing.get(self._modality)
        return config.sources if config is not None and is_series(config) else ()

    def _warn(self, line: str) -> None:
        self._node.get_logger().warning(f'{self._modality}: {line}')

    def _tell_form(self, form: str) -> None:
        topic = self._node.resolve_topic_name(self._topic)
        self._node.get_logger().info(f'{self._modality}: topic {topic}: reading its {form} form')

    def _subscribe(self, topic: str, kind: type) -> None:
        self._single[topic] = subscribe(
            self._node, kind, topic, self.store, qos=CHUNKS, on_mismatch=self._mismatch
        )

    def _mismatch(self, topic: str, policy: str) -> None:
        self._mismatches[topic] = (policy, time.monotonic())

    def _tell_mismatches(self, worker: EncodingWorker) -> None:
        # The name of a publisher becomes known shortly after the publisher itself.
        latest_s = time.monotonic() - LOOK_S
        due = [t for t, (_, heard_s) in self._mismatches.items() if heard_s <= latest_s]
        for topic in due:
            policy, _ = self._mismatches.pop(topic)
            if topic not in self.subscriptions:  # the input has changed to another form
                continue
            wanted = self.subscriptions[topic].qos_profile
            line = mismatch_line(self._node, topic, wanted, policy)
            worker.health(self._sensor).note('qos', line)

    def _look(self) -> None:
        """Check regularly for a change of type or form and for silence."""
        if self._pictures is not None:
            self._pictures.look()
        elif self._kind == 'sound':
            self._follow_type()
        elif self._described is not None and self._worker is not None:
            self._described.follow(topics_of(self._sources(self._worker)))
        if self._worker is not None and self.is_open:
            self._tell_mismatches(self._worker)
            self._worker.health(self._sensor).watch_silence(self._why_silent)

    def _why_silent(self) -> str:
        if self._pictures is not None:
            return publishers_line(self._node, self._pictures.topics, self._pictures.kinds)
        if self._described is not None:
            return self._described.why_silent()
        kinds = [type_name(s.msg_type) for s in self._single.values()]
        topics = [self._node.resolve_topic_name(topic) for topic in self._single]
        return publishers_line(self._node, topics, kinds)

    def _follow_type(self) -> None:
        """Subscribe with the publishers' message type if it is a known audio type.

        Two packages named audio_common_msgs exist, and possibly neither is installed; so the
        package is imported only when one of its types is published.
        """
        resolved = self._node.resolve_topic_name(self._topic)
        found = {i.topic_type for i in self._node.get_publishers_info_by_topic(resolved)}
        current = type_name(self._single[self._topic].msg_type)
        wanted = next((n for n in (type_name(AudioChunk), *SOUND_TYPES) if n in found), None)
        if wanted is None or current in found or wanted in self._untyped:
            return
        kind = import_type(wanted)
        if kind is None:
            self._untyped.add(wanted)
            line = f'its publisher sends {wanted}, but that package is not installed here'
            self._node.get_logger().warning(f'{self._modality}: topic {resolved}: {line}')
            return
        self._node.destroy_subscription(self._single.pop(self._topic))
        self._subscribe(self._topic, kind)
        info = import_type(INFO_TYPE)
        if self._info is None and info is not None and hasattr(info(), 'sample_format'):
            self._info = self._node.create_subscription(
                info, f'{self._topic}_info', self._take_info, 1
            )
        self._node.get_logger().info(f'{self._modality}: topic {resolved} carries {wanted}')

    def _take_info(self, message: Any) -> None:
        """Take the format of audio bytes from the topic that publishes it once."""
        try:
            sound = replace(
                self._parameters.sound,
                rate_hz=int(message.sample_rate),
                channels=int(message.channels),
                sample_format=str(message.sample_format) or 'S16LE',
            )
        except ValueError as error:
            if self._worker is not None:
                self._worker.health(self._sensor).note('type', f'{self._topic}_info: {error}')
            return
        if self._worker is not None:
            self._worker.describe_sound(self._sensor, sound)
