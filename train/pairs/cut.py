"""The second pass over a bag: what every sensor recorded in the windows that were planned."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode import DecodeError, decode_audio, decode_image
from encoders.modalities import MODALITIES
from train.bags.reader import BagMessage, BagReport
from train.pairs.options import PairOptions, PairsReport
from train.pairs.plan import Window, segmented
from train.pairs.record import Pair, encode, key_of

# Sensors are this late at most; then a window is complete.
MAX_LATENESS_NS = 5_000_000_000
# Sound must fill at least this share of its window.
MIN_SOUND = 0.5
PASSED_ON = ('jpeg', 'jpg', 'png')


@dataclass
class Opened:
    """A window while its messages come in.

    Attributes:
        index: Its number among the planned windows.
        frames: (modality, number of the frame) to (rank of its topic, distance in ns, files).
    """

    index: int
    window: Window
    targets: dict[str, list[int]]
    frames: dict[tuple[str, int], tuple[int, int, dict[str, bytes]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of a microphone's stream."""

    start_ns: int
    wave: NDArray[Any]
    rate_hz: int

    @property
    def end_ns(self) -> int:
        """When it ends."""
        return self.start_ns + int(self.wave.shape[1]) * 1_000_000_000 // self.rate_hz


def cut_bag(
    bag: Path, windows: Sequence[Window], options: PairOptions, *, report: PairsReport
) -> Iterator[tuple[int, Pair]]:
    """Pairs of a bag with the number of their window; one no sensor saw is counted, not given.

    Args:
        bag: rosbag2 folder or storage file.
        windows: See `plan_bag`.
        options: The same as for `plan_bag`.
        report: Told what was dropped.
    """
    waiting = [
        Opened(index, window, _targets(window, options)) for index, window in enumerate(windows)
    ]
    waiting.sort(key=lambda opened: (opened.window.segment, opened.window.start_ns))
    sounds: list[Sound] = []
    current = 0
    newest: dict[str, int] = {}
    sensors = {t for name in options.modalities for t in options.sensor_topics(name)}
    for segment, message in segmented(bag, options, BagReport(bag)):
        if message.topic not in sensors:
            continue
        if segment != current:
            yield from _finished(waiting, sounds, bag, options, report, segment=current)
            current, sounds, newest = segment, [], {}
        _take(message, segment, waiting, sounds, options, report)
        newest[message.topic] = max(newest.get(message.topic, 0), message.stamp_ns)
        # Until the sensor that is furthest behind: clocks may differ, and streams stop.
        newest_ns = min(newest.values())
        yield from _finished(
            waiting,
            sounds,
            bag,
            options,
            report,
            segment=segment,
            before_ns=newest_ns - MAX_LATENESS_NS,
        )
        _forget(sounds, waiting, newest_ns)
    yield from _finished(waiting, sounds, bag, options, report, segment=current)


def _targets(window: Window, options: PairOptions) -> dict[str, list[int]]:
    """Moments that pictures are wanted of, by modality."""
    found = {}
    for name in options.modalities:
        kind = MODALITIES[name].kind
        if kind == 'image':
            found[name] = [window.at_ns]
        elif kind == 'clip':
            count = options.clip_frames
            moments = np.linspace(window.start_ns, window.end_ns, count, dtype=np.int64)
            found[name] = [int(moment) for moment in moments]
    return found


def _take(
    message: BagMessage,
    segment: int,
    waiting: Sequence[Opened],
    sounds: list[Sound],
    options: PairOptions,
    report: PairsReport,
) -> None:
    for name in options.modalities:
        topics = options.sensor_topics(name)
        if message.topic not in topics:
            continue
        try:
            if MODALITIES[name].kind == 'sound':
                decoded = decode_audio(message.message)
                sounds.append(Sound(message.stamp_ns, decoded.wave, decoded.rate_hz))
            else:
                rank = topics.index(message.topic)
                _take_picture(name, message, rank, segment, waiting, options)
        except (DecodeError, ValueError) as error:
            report.dropped[f'undecodable messages on {message.topic}'] += 1
            report.problem(f'topic {message.topic}: {error}; skipped')


def _take_picture(
    name: str,
    message: BagMessage,
    rank: int,
    segment: int,
    waiting: Sequence[Opened],
    options: PairOptions,
) -> None:
    limit = round(options.max_offset_s * 1e9)
    is_clip = MODALITIES[name].kind == 'clip'
    files: dict[str, bytes] | None = None
    for opened in waiting:
        if opened.window.segment != segment or opened.window.start_ns - limit > message.stamp_ns:
            break
        # Any picture of a window whose text holds all along will do, the middle one best.
        reach = limit if is_clip else max(limit, opened.window.end_ns - opened.window.at_ns)
        for number, target in enumerate(opened.targets[name]):
            offset = abs(message.stamp_ns - target)
            best = opened.frames.get((name, number))
            if offset > reach or (best is not None and best[:2] <= (rank, offset)):
                continue
            files = files if files is not None else picture_files(name, message.message)
            opened.frames[name, number] = (rank, offset, files)


def picture_files(name: str, message: Any) -> dict[str, bytes]:
    """Files of one picture; a compressed one that fits is passed on as it is.

    Raises:
        DecodeError: It cannot be decoded.
    """
    source = 'image' if MODALITIES[name].kind == 'clip' else name
    decoded = decode_image(message, modality=source)
    if source == 'image' and hasattr(message, 'format'):
        data = bytes(message.data)
        suffix = 'png' if data.startswith(b'\x89PNG') else 'jpg'
        if data.startswith((b'\x89PNG', b'\xff\xd8')) and decoded.array.dtype == np.uint8:
            return {f'{source}.{suffix}': data}
    return encode(source, decoded.array)


def _finished(
    waiting: list[Opened],
    sounds: Sequence[Sound],
    bag: Path,
    options: PairOptions,
    report: PairsReport,
    *,
    segment: int,
    before_ns: int | None = None,
) -> Iterator[tuple[int, Pair]]:
    """Hand out the first windows as long as they are complete."""
    while waiting and (
        waiting[0].window.segment < segment
        or (
            waiting[0].window.segment == segment
            and (before_ns is None or waiting[0].window.end_ns < before_ns)
        )
    ):
        opened = waiting.pop(0)
        pair = _pair(opened, sounds, bag, options, report)
        if pair is not None:
            yield opened.index, pair


def _pair(
    opened: Opened,
    sounds: Sequence[Sound],
    bag: Path,
    options: PairOptions,
    report: PairsReport,
) -> Pair | None:
    files: dict[str, bytes] = {}
    for name in options.modalities:
        if MODALITIES[name].kind == 'sound':
            found = window_sound(sounds, opened.window)
            own = {} if found is None else encode(name, found)
        else:
            own = _frames(name, opened)
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


def _frames(name: str, opened: Opened) -> dict[str, bytes]:
    count = len(opened.targets[name])
    frames = [opened.frames.get((name, number)) for number in range(count)]
    if any(frame is None for frame in frames):
        return {}
    if MODALITIES[name].kind != 'clip':
        assert frames[0] is not None
        return frames[0][2]
    named: dict[str, bytes] = {}
    for number, frame in enumerate(frames):
        assert frame is not None
        ((old, data),) = frame[2].items()
        named[f'{name}.{number}.{old.split(".")[-1]}'] = data
    return named


def window_sound(sounds: Sequence[Sound], window: Window) -> tuple[NDArray[np.int16], int] | None:
    """The wave of a window, int16 `[channels, samples]`, silent where chunks are missing.

    Returns:
        None where less than half of it was recorded, or its chunks do not fit together.
    """
    inside = [s for s in sounds if s.end_ns > window.start_ns and s.start_ns < window.end_ns]
    if not inside:
        return None
    rate, channels = inside[0].rate_hz, inside[0].wave.shape[0]
    if any((s.rate_hz, s.wave.shape[0]) != (rate, channels) for s in inside):
        return None
    length = max(1, round((window.end_ns - window.start_ns) * 1e-9 * rate))
    wave = np.zeros((channels, length), np.int16)
    heard = np.zeros(length, bool)
    for sound in inside:
        begin = round((sound.start_ns - window.start_ns) * 1e-9 * rate)
        piece = _int16(sound.wave)[:, max(0, -begin) :]
        place = slice(max(0, begin), min(length, max(0, begin) + piece.shape[1]))
        wave[:, place] = piece[:, : place.stop - place.start]
        heard[place] = True
    return (wave, rate) if heard.mean() >= MIN_SOUND else None


def _int16(wave: NDArray[Any]) -> NDArray[np.int16]:
    scaled = wave if wave.dtype == np.int16 else np.round(np.clip(wave, -1, 1) * 32_767)
    return np.asarray(scaled, np.int16)


def _forget(sounds: list[Sound], waiting: Sequence[Opened], newest_ns: int) -> None:
    """Drop sound that no window still needs."""
    oldest = waiting[0].window.start_ns if waiting else newest_ns
    ends = [sound.end_ns for sound in sounds]
    del sounds[: bisect_left(ends, min(oldest, newest_ns - MAX_LATENESS_NS))]
