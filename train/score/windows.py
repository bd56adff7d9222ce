"""The stretches of sensor data that the live nodes would encode, read from a bag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders import MODALITIES, SENSED
from encoders.decode import DecodeError, decode_audio, decode_image
from encoders.decode.audio_window import WINDOW_S, AudioWindow
from train.bags.reader import BagMessage, BagReport, read_bag
from train.bags.samples import TOPICS
from train.bags.storage import bag_topics

# Types that carry a sensor, for the advice given where no topic has a usual name.
SENSOR_TYPES = ('Image', 'CompressedImage', 'AudioChunk', 'AudioStamped', 'AudioData')
DEFAULT_MAX_RATE_HZ = 15.0  # as the live nodes'


@dataclass(frozen=True, slots=True)
class Window:
    """What one sensor had to say at one moment, not yet decoded.

    Attributes:
        index: Position in the bag's sequence of windows; the same each time it is read.
        modality: Of the encoder it is for.
        topic: Where it came from.
        stamp_ns: End of the stretch; for a picture, when it was taken.
        start_ns: Begin of the stretch.
        log_ns: When it was recorded.
        source: The message of a picture, (wave, rate) of a sound.
    """

    index: int
    modality: str
    topic: str
    stamp_ns: int
    start_ns: int
    log_ns: int
    source: Any

    def raw(self) -> Any:
        """The array as `Binder.preprocess` takes it.

        Raises:
            DecodeError: The message is not what it says.
        """
        if MODALITIES[self.modality].kind == 'sound':
            return self.source
        return decode_image(self.source, modality=self.modality).array


@dataclass(frozen=True)
class SensorTopics:
    """Which topics of a bag carry which modality.

    Attributes:
        named: Modality to the topics its user named; they replace the usual ones.
    """

    named: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> SensorTopics:
        """From `modality=/topic` words of a command line.

        Raises:
            ValueError: A word has another form or names an unknown modality.
        """
        named: dict[str, list[str]] = {}
        for word in words:
            modality, equals, topic = word.partition('=')
            if not equals or not topic.strip('/'):
                raise ValueError(
                    f'topic {word!r}: expected MODALITY=/TOPIC, as in depth=/cam/depth'
                )
            if modality not in SENSED:
                known = ', '.join(SENSED)
                raise ValueError(f'topic {word!r}: unknown modality, expected one of {known}')
            named.setdefault(modality, []).append(topic.lstrip('/'))
        return cls(named)

    def choose(
        self, present: Mapping[str, str], modalities: Sequence[str], report: BagReport
    ) -> dict[str, str]:
        """Topic to modality: the named ones, else the first usual name that is present.

        Args:
            present: Topics of the bag with their types.
            modalities: That can be encoded.
            report: Told about what is missing, with the topics it may be.
        """
        chosen: dict[str, str] = {}
        for modality in (m for m in SENSED if m in modalities):
            usual = [t for t in usual_topics(modality) if t in present][:1]
            topics = self.named.get(modality, usual)
            chosen |= {topic: modality for topic in topics if topic in present}
            missing = [topic for topic in topics if topic not in present]
            if missing or not topics:
                said = f'no topic {", ".join(missing)}' if missing else 'no topic of a usual name'
                report.problem(f'{report.path}: {said} for {modality}{_advice(modality, present)}')
        return chosen


def _advice(modality: str, present: Mapping[str, str]) -> str:
    candidates = sorted(t for t, kind in present.items() if kind.split('/')[-1] in SENSOR_TYPES)
    if not candidates:
        return ', nor any other picture or sound'
    return f'; name one with --topic {modality}=/TOPIC: {", ".join(candidates)}'


def usual_topics(modality: str) -> tuple[str, ...]:
    """Topic names the live node of a modality listens to."""
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
) -> Iterator[Window]:
    """The windows of a bag in recorded order.

    Args:
        bag: Bag folder or file.
        topics: Names of its sensor topics.
        modalities: Only these.
        max_rate_hz: Upper limit per modality, in the time of the bag; 0 for none.
        report: Filled with what could not be used.

    Raises:
        FileNotFoundError: There is no such bag.
    """
    report = report if report is not None else BagReport(bag)
    chosen = topics.choose(bag_topics(bag), modalities, report)
    streams = {topic: _Stream(m, topic, max_rate_hz) for topic, m in chosen.items()}
    index = 0
    for message in read_bag(bag, topics=list(chosen), report=report) if chosen else ():
        window = streams[message.topic].take(message, index, report)
        if window is not None:
            index += 1
            yield window


class _Stream:
    """Windows of one topic: limits the rate, puts sound together."""

    def __init__(self, modality: str, topic: str, max_rate_hz: float) -> None:
        self._modality, self._topic = modality, topic
        self._period_ns = round(1e9 / max_rate_hz) if max_rate_hz > 0 else 0
        self._due_ns = self._last_ns = -(1 << 62)
        self._sound = AudioWindow(WINDOW_S)

    def take(self, message: BagMessage, index: int, report: BagReport) -> Window | None:
        if MODALITIES[self._modality].kind == 'sound':
            window = self._with_sound(message, index, report)
        else:
            stamp_ns = message.stamp_ns
            window = self._window(message, index, stamp_ns, stamp_ns, message.message)
        return window if window is not None and self._is_due(window.stamp_ns) else None

    def _with_sound(self, message: BagMessage, index: int, report: BagReport) -> Window | None:
        try:
            chunk = decode_audio(message.message)
        except DecodeError as error:
            report.dropped[message.topic] += 1
            report.problem(f'{report.path}: topic {message.topic}: {error}; skipped')
            return None
        length_ns = round(chunk.wave.shape[1] * 1e9 / chunk.rate_hz)
        start_ns = message.stamp_ns
        if message.stamp_ns == message.log_ns and not hasattr(message.message, 'sample_rate_hz'):
            start_ns -= length_ns  # without a stamp, a chunk ends when it is recorded
        sound = self._sound.add(chunk.wave, rate_hz=chunk.rate_hz, start_ns=start_ns)
        source = (sound.wave, sound.rate_hz)
        return self._window(message, index, start_ns + length_ns, sound.start_ns, source)

    def _window(
        self, message: BagMessage, index: int, stamp_ns: int, start_ns: int, source: Any
    ) -> Window:
        return Window(
            index, self._modality, self._topic, stamp_ns, start_ns, message.log_ns, source
        )

    def _is_due(self, stamp_ns: int) -> bool:
        """As the live worker: on average the limit, however the messages are spaced."""
        if stamp_ns < self._last_ns:  # the clock was set back
            self._due_ns = stamp_ns
        if stamp_ns < self._due_ns:
            return False
        self._last_ns = stamp_ns
        self._due_ns = max(self._due_ns + self._period_ns, stamp_ns - self._period_ns)
        return True
