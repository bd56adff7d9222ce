"""The windows of sensor data that the live nodes would encode, read from a bag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from encoders import MODALITIES, SENSED
from encoders.decode import DecodeError
from encoders.decode.channels import TopicMessage, topics_of
from encoders.decode.followed import Followed
from encoders.decode.series import Floats, Series
from encoders.decode.series_stream import REORDER_S, SeriesStream
from encoders.decode.streams import Stream
from encoders.decode.view import Place
from encoders.modalities import DESCRIBED
from encoders.preprocess import Config, is_series, stream_for
from encoders.regions import Region
from train.bags.folder import topics_to_read
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.storage import Span
from train.bags.topics import TOPICS
from train.score.arguments import DEFAULT_MAX_RATE_HZ

# Sensor message types, for advice if no topic has a default name.
SENSOR_TYPES = ('Image', 'CompressedImage', 'AudioChunk', 'AudioStamped', 'AudioData')
SERIES_TYPES = {'wrench': ('WrenchStamped',), 'joints': ('JointState',), 'imu': ('Imu',)}
# Kinds whose windows overlap and depend on earlier messages, so that they are decoded in order.
IN_ORDER = ('sound', 'series')
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Window:
    """Data of one sensor at one moment, not yet decoded.

    Attributes:
        index: Position in the bag's sequence of windows; the same each time it is read.
        modality: Modality of the encoder.
        topic: Topic of the data.
        stamp_ns: End of the window; for an image, the time when it was taken.
        start_ns: Start of the window.
        log_ns: Recording time.
        source: The cut of an image, (waveform, rate) of audio, or the `Series` of a series.
        stream: Stream of the sensor.
        places: Where the parts of its view are, by sensor (`depth@gripper`).
        is_first: Whether it may be incomplete, because its stream began within its length.
    """

    index: int
    modality: str
    topic: str
    stamp_ns: int
    start_ns: int
    log_ns: int
    source: Any
    stream: Stream
    places: Mapping[str, Place] = field(default_factory=dict)
    is_first: bool = False

    def raw(self) -> Any:
        """The array as accepted by `Binder.preprocess`.

        Raises:
            DecodeError: The content of the message does not match its description.
        """
        return self.decoded()[0]

    def decoded(self) -> tuple[Any, str]:
        """The array, and what was repaired in it; empty if nothing was.

        Raises:
            DecodeError: The content of the message does not match its description.
        """
        if MODALITIES[self.modality].kind in IN_ORDER:
            return self.source, ''  # reported when it was cut
        window = self.stream.window(self.source)
        return window.raw, window.fault[1] if window.fault else ''


@dataclass(frozen=True)
class SensorTopics:
    """Assignment of topics of a bag to modalities.

    Attributes:
        named: Modality to topics given by the user, which replace the default ones.
    """

    named: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> SensorTopics:
        """Parse `modality=/topic` words of a command line.

        Raises:
            ValueError: A word is malformed or names an unknown modality.
        """
        named: dict[str, list[str]] = {}
        for word in words:
            modality, equals, topic = word.partition('=')
            if not equals or not topic.strip('/'):
                raise ValueError(
                    f'topic {word!r}: expected MODALITY=/TOPIC, as in depth=/cam/depth'
                )
            if modality == DESCRIBED:
                raise ValueError(f'topic {word!r}: the file of --channels names topics')
            if modality not in SENSED:
                known = ', '.join(SENSED)
                raise ValueError(f'topic {word!r}: unknown modality, expected one of {known}')
            named.setdefault(modality, []).append(topic.lstrip('/'))
        return cls(named)

    def choose(
        self, present: Mapping[str, str], modalities: Sequence[str], report: BagReport
    ) -> dict[str, str]:
        """Topic to modality: the named ones, otherwise the first default name that is present.

        Args:
            present: Topics of the bag with their types.
            modalities: Modalities that can be encoded.
            report: Receives missing topics, with suggestions.
        """
        chosen: dict[str, str] = {}
        for modality in (m for m in SENSED if m in modalities):
            usual = [t for t in usual_topics(modality) if t in present][:1]
            topics = self.named.get(modality, usual)
            chosen |= {topic: modality for topic in topics if topic in present}
            missing = [topic for topic in topics if topic not in present]
            # A robot without an extra sensor is usual; a topic that may be of it is not.
            is_expected = MODALITIES[modality].standard or _candidates(modality, present)
            if missing or (not topics and is_expected):
                said = f'no topic {", ".join(missing)}' if missing else 'no topic of a usual name'
                report.problem(f'{report.path}: {said} for {modality}{_advice(modality, present)}')
        return chosen


def _candidates(modality: str, present: Mapping[str, str]) -> list[str]:
    """Topics whose type fits a modality."""
    types = SERIES_TYPES.get(modality, SENSOR_TYPES)
    return sorted(topic for topic, kind in present.items() if kind.split('/')[-1] in types)


def _advice(modality: str, present: Mapping[str, str]) -> str:
    candidates = _candidates(modality, present)
    if not candidates:
        other = SERIES_TYPES.get(modality, ('picture or sound',))
        return f', nor any other {", ".join(other)}'
    return f'; name one with --topic {modality}=/TOPIC: {", ".join(candidates)}'


def usual_topics(modality: str) -> tuple[str, ...]:
    """Default topics to which the live node of a modality subscribes."""
    topic = MODALITIES[modality].topic
    compressed = (f'{topic}/compressed', f'{topic}/compressedDepth')
    return tuple(dict.fromkeys((*TOPICS[modality], topic, *compressed)))


def read_windows(
    bag: Path,
    topics: SensorTopics,
    *,
    modalities: Sequence[str] = SENSED,
    max_rate_hz: float = DEFAULT_MAX_RATE_HZ,
    report: BagReport | None = None,
    between: Span | None = None,
    regions: Sequence[Region] = (),
    configs: Mapping[str, Config] = NONE,
    baselines: Mapping[str, Floats] = NONE,
    ends: Callable[[BagMessage], object] = lambda message: True,
) -> Iterator[Window]:
    """Yield the windows of a bag in recorded order.

    Args:
        bag: Bag folder or file.
        topics: Names of its sensor topics.
        modalities: Modalities to read.
        max_rate_hz: Upper limit per modality, in bag time; 0 for none.
        report: Filled with what could not be used.
        between: Only data recorded in this span of time, nanoseconds; None for all.
        regions: Parts of views, for `Window.places`; as live, of the first topic of a modality.
        configs: Preprocessing by modality, which names the channels and the length of series.
        baselines: By topic, the baseline of a series, float64 `[C]`, if its beginning is not read.
        ends: Whether a window that ends with a message is wanted.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: No message of it can be read.
    """
    report = report if report is not None else BagReport(bag)
    present = topics_to_read(bag, report.problem)
    chosen = topics.choose(present, [m for m in modalities if m != DESCRIBED], report)
    sensors: dict[str, _Sensor] = {}
    for topic, m in chosen.items():
        is_first = m not in {chosen[other] for other in sensors}
        parts = [Followed(r) for r in regions if r.modality == m and is_first]
        sensors[topic] = _Sensor(m, topic, max_rate_hz, stream_for(m, configs.get(m)), parts)
    described = _described_topics(configs, present, report) if DESCRIBED in modalities else ()
    if described:
        topic, stream = MODALITIES[DESCRIBED].topic, stream_for(DESCRIBED, configs[DESCRIBED])
        sensors[topic] = _Sensor(DESCRIBED, topic, max_rate_hz, stream, ())
    for topic, baseline in baselines.items():
        stream = sensors[topic].stream
        assert isinstance(stream, SeriesStream)
        stream.tare(baseline)
    index = 0
    if not sensors:
        return
    followed = _followed(sensors.values(), present, report)
    read = dict.fromkeys([*chosen, *followed, *described])
    for message in read_bag(bag, topics=[*read], report=report, between=between):
        for each in followed.get(message.topic, ()):
            each.take(message.message, message.log_ns)
        takers = [message.topic] if message.topic in chosen else []
        if message.topic in described:  # a topic may feed a sensor of its own and these channels
            takers.append(MODALITIES[DESCRIBED].topic)
        for taker in takers:
            window = sensors[taker].take(message, index, report, ends=ends)
            if window is not None:
                index += 1
                yield window


def _described_topics(
    configs: Mapping[str, Config], present: Mapping[str, str], report: BagReport
) -> tuple[str, ...]:
    """The topics of described channels that the bag has; missing ones are reported."""
    config = configs.get(DESCRIBED)
    named = topics_of(config.sources) if config is not None and is_series(config) else ()
    missing = [topic for topic in named if topic not in present]
    if missing:
        report.problem(f'{report.path}: no topic {", ".join(missing)} of {DESCRIBED}')
    if not named:
        report.problem(f'{report.path}: {DESCRIBED} is not read: its channels name no topic')
    return tuple(topic for topic in named if topic in present)


def _followed(
    sensors: Iterable[_Sensor], present: Mapping[str, str], report: BagReport
) -> dict[str, list[Followed]]:
    """The regions that follow a topic of the bag, by topic; the others are reported."""
    found: dict[str, list[Followed]] = {}
    for each in (one for sensor in sensors for one in sensor.parts if one.region.follows):
        topic = each.region.topic.lstrip('/')
        if topic in present:
            found.setdefault(topic, []).append(each)
        else:
            report.problem(f'{report.path}: no topic {topic} of the region {each.region}')
    return found


class _Sensor:
    """Windows of one topic, at a limited rate."""

    def __init__(
        self,
        modality: str,
        topic: str,
        max_rate_hz: float,
        stream: Stream,
        parts: Sequence[Followed],
    ) -> None:
        self._modality, self._topic, self.parts = modality, topic, parts
        self.stream = stream
        self._period_ns = round(1e9 / max_rate_hz) if max_rate_hz > 0 else 0
        self._due_ns = self._last_ns = -(1 << 62)
        self._first_ns: int | None = None

    def take(
        self,
        message: BagMessage,
        index: int,
        report: BagReport,
        *,
        ends: Callable[[BagMessage], object],
    ) -> Window | None:
        sent = message.message
        if self._modality == DESCRIBED:
            sent = TopicMessage(message.topic, sent)
        cut = self.stream.add(sent, stamp_ns=message.stamp_ns, stamped=message.is_stamped)
        window = Window(
            index,
            self._modality,
            self._topic,
            cut.stamp_ns,
            cut.stamp_ns,
            message.log_ns,
            cut,
            self.stream,
            {each.region.sensor: each.at(message.log_ns) for each in self.parts},
        )
        kind = MODALITIES[self._modality].kind
        if kind == 'sound':
            # Every chunk is decoded, because its length is the end of the window.
            heard = self._decoded(window, message, report)
            return heard if heard and ends(message) and self._is_due(heard.stamp_ns) else None
        if not ends(message) or not self._is_due(window.stamp_ns):
            return None
        return self._decoded(window, message, report) if kind == 'series' else window

    def _decoded(self, window: Window, message: BagMessage, report: BagReport) -> Window | None:
        """The window with its content; None if it cannot be decoded, which is reported."""
        try:
            found = self.stream.window(window.source)
        except DecodeError as error:
            report.skipped(message.topic, str(error))
            return None
        if found.fault and (found.fault[0] == 'repaired' or isinstance(found.raw, Series)):
            report.noted(message.topic, found.fault[1])
        if self._first_ns is None:
            self._first_ns = found.start_ns
        return replace(
            window,
            stamp_ns=found.stamp_ns,
            start_ns=found.start_ns,
            source=found.raw,
            is_first=found.start_ns == self._first_ns,
        )

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether to use a window: on average at the limit, for any spacing, as when live."""
        late_s = (self._last_ns - stamp_ns) * 1e-9
        if self._modality == DESCRIBED and 0 < late_s < REORDER_S:
            return False  # of another topic, with a delay of its own
        if late_s > 0:  # the clock was set back
            self._due_ns = stamp_ns
        if stamp_ns < self._due_ns:
            return False
        self._last_ns = stamp_ns
        self._due_ns = max(self._due_ns + self._period_ns, stamp_ns - self._period_ns)
        return True
