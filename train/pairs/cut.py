"""The second pass over a bag: the sensor data of the windows that were planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode import DecodeError, decode_image
from encoders.decode.audio_window import WINDOW_S
from encoders.decode.channels import TopicMessage
from encoders.decode.content import content_objection
from encoders.decode.series import Series
from encoders.decode.series_stream import SeriesStream
from encoders.decode.streams import AudioStream, ClipStream, Cut
from encoders.modalities import DESCRIBED, MODALITIES
from train.bags.reader import BagMessage, BagReport
from train.pairs.options import WINDOWS_AT_TEXTS, PairOptions, PairsReport
from train.pairs.plan import Window, segmented
from train.pairs.record import Pair, encode, key_of

# Largest delay of a sensor, after which a window is complete.
MAX_LATENESS_NS = 5_000_000_000
MIN_CLIP_S = 1e-3
# Smallest share of a window for which audio must be present.
MIN_SOUND = 0.5


@dataclass
class Opened:
    """A window while its messages are collected.

    Attributes:
        index: Its number among the planned windows.
        images: Modality to (rank of its topic, distance in ns, files) of the best image.
        clips: (modality, rank of its topic) to its stream, whose messages are files, and the
            clip that ends with the newest of them.
        sound: Its audio, set once the stream has passed its end; None if there is too little.
        heard: Whether `sound` is final.
        series: (modality, rank of its topic) to its channels, set once the stream has passed the
            end of the window; None if there are none.
    """

    index: int
    window: Window
    images: dict[str, tuple[int, int, dict[str, bytes]]] = field(default_factory=dict)
    clips: dict[tuple[str, int], tuple[ClipStream, Cut]] = field(default_factory=dict)
    sound: tuple[NDArray[np.int16], int] | None = None
    heard: bool = False
    series: dict[tuple[str, int], Series | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Streams:
    """The sensors of a bag of which a window holds a stretch of time.

    Attributes:
        sound: Its audio.
        series: (modality, rank of its topic) to its stream.
    """

    sound: AudioStream
    series: Mapping[tuple[str, int], SeriesStream]

    @classmethod
    def of(cls, options: PairOptions, *, length_s: float) -> Streams:
        """New streams for windows up to some length."""
        longest_s = max(length_s, MIN_CLIP_S)
        felt = {
            (name, rank): SeriesStream(name, length_s=longest_s)
            for name in options.modalities
            if MODALITIES[name].kind == 'series' and name != DESCRIBED
            for rank in range(len(options.sensor_topics(name)))
        }
        if options.sensor_topics(DESCRIBED) and DESCRIBED in options.modalities:
            # One stream of all its topics.
            stream = SeriesStream(DESCRIBED, options.described(), length_s=longest_s)
            felt[DESCRIBED, 0] = stream
        return cls(AudioStream(length_s=length_s + WINDOW_S), felt)

    def forget(self) -> None:
        """Begin again after a jump in time."""
        self.sound.forget()
        for stream in self.series.values():
            stream.forget()


def cut_bag(
    bag: Path, windows: Sequence[Window], options: PairOptions, *, report: PairsReport
) -> Iterator[tuple[int, Pair]]:
    """Yield the pairs of a bag with their window numbers; windows without data are only counted.

    Args:
        bag: rosbag2 folder or storage file.
        windows: See `plan_bag`.
        options: The same as for `plan_bag`.
        report: Counts what was dropped.
    """
    waiting = [Opened(index, window) for index, window in enumerate(windows)]
    waiting.sort(key=lambda opened: (opened.window.segment, opened.window.start_ns))
    longest_ns = max((o.window.end_ns - o.window.start_ns for o in waiting), default=0)
    streams = Streams.of(options, length_s=longest_ns * 1e-9)
    current = 0
    newest: dict[str, int] = {}
    sensors = {t for name in options.modalities for t in options.sensor_topics(name)}
    for segment, message in segmented(bag, options, BagReport(bag)):
        if message.topic not in sensors:
            continue
        if segment != current:
            yield from _finished(waiting, streams, bag, options, report, segment=current)
            current, newest = segment, {}
            streams.forget()
        _take(message, segment, waiting, streams, options, report)
        newest[message.topic] = max(newest.get(message.topic, 0), message.stamp_ns)
        # The sensor furthest behind decides, because clocks may differ and streams may stop.
        newest_ns = min(newest.values())
        yield from _finished(
            waiting,
            streams,
            bag,
            options,
            report,
            segment=segment,
            before_ns=newest_ns - MAX_LATENESS_NS,
        )
    yield from _finished(waiting, streams, bag, options, report, segment=current)


def _take(
    message: BagMessage,
    segment: int,
    waiting: Sequence[Opened],
    streams: Streams,
    options: PairOptions,
    report: PairsReport,
) -> None:
    for name in options.modalities:
        topics = options.sensor_topics(name)
        if message.topic not in topics:
            continue
        try:
            if MODALITIES[name].kind == 'sound':
                repaired = _take_sound(message, segment, waiting, streams.sound)
                if repaired:
                    report.message(f'topic {message.topic}: {repaired}')
                continue
            rank = topics.index(message.topic)
            if name == DESCRIBED:
                sent = replace(message, message=TopicMessage(message.topic, message.message))
                _take_series((name, 0), sent, segment, waiting, streams)
            elif MODALITIES[name].kind == 'series':
                _take_series((name, rank), message, segment, waiting, streams)
            else:
                _take_picture(name, message, rank, segment, waiting, options, report)
        except ValueError as error:
            report.dropped[f'undecodable messages on {message.topic}'] += 1
            report.message(f'topic {message.topic}: {error}; skipped')


def _take_sound(
    message: BagMessage, segment: int, waiting: Sequence[Opened], sound: AudioStream
) -> str:
    """Assign audio to the windows that end before a chunk, then add the chunk.

    Returns:
        What was repaired in the chunk; empty if nothing was.
    """
    for opened in waiting:
        if opened.window.segment == segment and opened.window.end_ns <= message.stamp_ns:
            _hear(opened, sound)
    cut = sound.add(message.message, stamp_ns=message.stamp_ns, stamped=message.is_stamped)
    fault = sound.window(cut).fault
    return fault[1] if fault and fault[0] == 'repaired' else ''


def _hear(opened: Opened, sound: AudioStream) -> None:
    if not opened.heard:
        opened.sound, opened.heard = window_sound(sound, opened.window), True


def _take_series(
    key: tuple[str, int],
    message: BagMessage,
    segment: int,
    waiting: Sequence[Opened],
    streams: Streams,
) -> None:
    """Cut the windows that end before a message, then add the message."""
    for opened in waiting:
        window = opened.window
        if window.segment != segment or window.start_ns > message.stamp_ns:
            break
        if window.end_ns < message.stamp_ns:
            _feel(opened, key, streams)
    streams.series[key].add(message.message, stamp_ns=message.stamp_ns)


def _feel(opened: Opened, key: tuple[str, int], streams: Streams) -> None:
    if key in opened.series:
        return
    found = streams.series[key].until(opened.window.end_ns)
    recent = found is not None and found.stamp_ns > opened.window.start_ns
    opened.series[key] = found.raw if found is not None and recent else None


def _take_picture(
    name: str,
    message: BagMessage,
    rank: int,
    segment: int,
    waiting: Sequence[Opened],
    options: PairOptions,
    report: PairsReport,
) -> None:
    limit = round(options.max_offset_s * 1e9)
    is_clip = MODALITIES[name].kind == 'clip'
    files: dict[str, bytes] | None = None

    def files_once() -> dict[str, bytes]:
        nonlocal files
        if files is None:
            files, repaired = picture_files(name, message.message)
            if repaired:
                report.message(f'topic {message.topic}: {repaired}')
        return files

    for opened in waiting:
        if opened.window.segment != segment or opened.window.start_ns - limit > message.stamp_ns:
            break
        window = opened.window
        if is_clip:
            if message.stamp_ns <= window.end_ns:
                _extend_clip(opened, (name, rank), files_once(), message.stamp_ns, options)
            continue
        # If texts define the window, any image in it is valid; the one nearest the middle is best.
        reach = max(limit, window.end_ns - window.at_ns)
        offset = abs(message.stamp_ns - window.at_ns)
        best = opened.images.get(name)
        if offset <= reach and (best is None or best[:2] > (rank, offset)):
            opened.images[name] = (rank, offset, files_once())


def _extend_clip(
    opened: Opened,
    key: tuple[str, int],
    files: dict[str, bytes],
    stamp_ns: int,
    options: PairOptions,
) -> None:
    """Update the clip of a window that ends with an image, cut as live nodes cut it."""
    if key in opened.clips:
        stream = opened.clips[key][0]
    else:
        length_s = options.window_s
        if options.windows_at == WINDOWS_AT_TEXTS:
            length_s = max((opened.window.end_ns - opened.window.start_ns) * 1e-9, MIN_CLIP_S)
        stream = ClipStream(key[0], length_s)
    opened.clips[key] = (stream, stream.add(files, stamp_ns=stamp_ns))


def picture_files(name: str, message: Any) -> tuple[dict[str, bytes], str]:
    """Files of one image, and what was repaired; a suitable compressed image stays as it is.

    Raises:
        DecodeError: It cannot be decoded, or has no content to learn from.
    """
    source = 'image' if MODALITIES[name].kind == 'clip' else name
    decoded = decode_image(message, modality=source)
    objected = content_objection(source, decoded.array)
    if objected is not None:
        raise DecodeError(objected.line, fault=objected.fault)
    is_mosaic = str(getattr(message, 'format', '')).startswith('bayer')
    if source == 'image' and hasattr(message, 'format') and not (decoded.repaired or is_mosaic):
        data = bytes(message.data)
        suffix = 'png' if data.startswith(b'\x89PNG') else 'jpg'
        if data.startswith((b'\x89PNG', b'\xff\xd8')) and decoded.array.dtype == np.uint8:
            return {f'{source}.{suffix}': data}, ''
    return encode(source, decoded.array), decoded.repaired


def _finished(
    waiting: list[Opened],
    streams: Streams,
    bag: Path,
    options: PairOptions,
    report: PairsReport,
    *,
    segment: int,
    before_ns: int | None = None,
) -> Iterator[tuple[int, Pair]]:
    """Yield the pairs of the first windows as long as these are complete."""
    while waiting and (
        waiting[0].window.segment < segment
        or (
            waiting[0].window.segment == segment
            and (before_ns is None or waiting[0].window.end_ns < before_ns)
        )
    ):
        opened = waiting.pop(0)
        pair = _pair(opened, streams, bag, options, report)
        if pair is not None:
            yield opened.index, pair


def _pair(
    opened: Opened,
    streams: Streams,
    bag: Path,
    options: PairOptions,
    report: PairsReport,
) -> Pair | None:
    files: dict[str, bytes] = {}
    for name in options.modalities:
        if MODALITIES[name].kind == 'sound':
            _hear(opened, streams.sound)
            own = {} if opened.sound is None else encode(name, opened.sound)
        elif MODALITIES[name].kind == 'series':
            own = _series(name, opened, streams)
        else:
            own = _pictures(name, opened, options)
        if not own:
            report.dropped[f'windows without {name}'] += 1
        files |= own
    window = opened.window
    if not files:
        report.dropped['windows no sensor saw'] += 1
        return None
    return Pair(
        key=f'{key_of(bag.name, window.end_ns)}_{opened.index}',
        bag=bag.name,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        files=files,
        texts=window.texts,
        facts=window.facts,
    )


def _series(name: str, opened: Opened, streams: Streams) -> dict[str, bytes]:
    """The channels of a window from its best topic that has any; empty if none has."""
    for key in sorted(key for key in streams.series if key[0] == name):
        _feel(opened, key, streams)
        series = opened.series[key]
        if series is not None:
            return encode(name, series)
    return {}


def _pictures(name: str, opened: Opened, options: PairOptions) -> dict[str, bytes]:
    """Files of the image or clip of a window; empty if it has none."""
    if MODALITIES[name].kind != 'clip':
        return opened.images[name][2] if name in opened.images else {}
    ranks = sorted(rank for modality, rank in opened.clips if modality == name)
    clips = (_clip_files(name, opened, opened.clips[name, rank], options) for rank in ranks)
    return next(filter(None, clips), {})


def _clip_files(
    name: str, opened: Opened, clip: tuple[ClipStream, Cut], options: PairOptions
) -> dict[str, bytes]:
    """Files of a clip; empty if images are missing anywhere in its window."""
    stream, cut = clip
    count, window = options.clip_frames, opened.window
    stamps_ns = np.array([picture.stamp_ns for picture in cut.content])
    even_ns = np.linspace(window.start_ns, window.end_ns, count, dtype=np.int64)
    if np.abs(stamps_ns[:, None] - even_ns).min(axis=0).max() > options.max_offset_s * 1e9:
        return {}
    named: dict[str, bytes] = {}
    for number, picture in enumerate(stream.chosen(cut, frames=count)):
        ((old, data),) = picture.message.items()
        named[f'{name}.{number}.{old.split(".")[-1]}'] = data
    return named


def window_sound(sound: AudioStream, window: Window) -> tuple[NDArray[np.int16], int] | None:
    """The waveform of a window, int16 `[channels, samples]`, with its rate in hertz.

    It is the audio that live nodes would use: after a gap in the audio, the window begins at the
    end of the gap.

    Returns:
        None if less than half of the window was recorded.
    """
    length_s = (window.end_ns - window.start_ns) * 1e-9
    found = sound.until(window.end_ns, length_s=length_s)
    if found is None:
        return None
    wave, rate_hz = found.raw
    early = max(0, round((window.start_ns - found.start_ns) * 1e-9 * rate_hz))
    inside = wave[:, early:]
    return (_int16(inside), rate_hz) if inside.shape[1] >= MIN_SOUND * length_s * rate_hz else None


def _int16(wave: NDArray[Any]) -> NDArray[np.int16]:
    scaled = wave if wave.dtype == np.int16 else np.round(np.clip(wave, -1, 1) * 32_767)
    return np.asarray(scaled, np.int16)
