"""Messages of one sensor to the windows that are encoded.

Live nodes, `lb-ros score`, pairs and training all create windows here, so that they use the same
stretches of a stream. `add` takes every message in order and is cheap; `window` decodes the result
of `add`. Only messages that are encoded are decoded, except audio and series, of which every
message is.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from encoders.decode.audio import AudioOptions, decode_audio
from encoders.decode.audio_files import EncodedSoundError
from encoders.decode.audio_window import WINDOW_S, AudioWindow
from encoders.decode.audio_window import Window as Sound
from encoders.decode.errors import DecodeError
from encoders.decode.image import decode_image
from encoders.decode.options import ImageOptions
from encoders.decode.series import SeriesOptions
from encoders.decode.series_stream import SERIES_S, SeriesStream
from encoders.decode.window import Cut as Cut
from encoders.decode.window import Window as Window
from encoders.modalities import MODALITIES

DEFAULT_CLIP_S = 2.0
# A clip's window is divided into this many parts, and the newest image of each is kept: four for
# each of eight frames.
PARTS = 32
# Chunks wait to be decoded while nothing is encoded; those older than the newest one by the window
# length plus this time are dropped.
SPARE_S = 1.0
# The middle of an encoded file looks like samples; chunks that follow its beginning without such a
# pause belong to it.
ENCODED_PAUSE_NS = 2_000_000_000
PLAIN_IMAGES, PLAIN_SOUND, PLAIN_SERIES = ImageOptions(), AudioOptions(), SeriesOptions()


@dataclass(frozen=True, slots=True)
class Picture:
    """A message of a camera and its stamp."""

    message: Any
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of a clip.

    Attributes:
        stamps_ns: Stamps of all frames, in order; an image may occur several times.
        pictures: Decoded images by stamp, uint8 `[H, W, 3]`, without those that are known.
    """

    stamps_ns: tuple[int, ...]
    pictures: dict[int, NDArray[Any]]


class Stream(Protocol):
    """Messages of one sensor. One thread may add while another one decodes."""

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """Add the next message; return the window that ends with it.

        Args:
            message: Message of a type that `encoders.decode` supports.
            stamp_ns: When it was sensed (audio: its first sample).
            stamped: False if that is only the time of arrival.
        """
        ...

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """Decode a window; windows of one stream must be decoded in order.

        Args:
            cut: Result of `add`.
            frames: Number of frames of a clip.
            known: Stamps of images of a clip that need not be decoded again.

        Raises:
            DecodeError: A message cannot be decoded.
        """
        ...

    def forget(self) -> None:
        """Start again with the next message, after a jump in time."""
        ...


@dataclass
class ImageStream:
    """Images; each is a window."""

    modality: str
    options: ImageOptions = PLAIN_IMAGES

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """See `Stream`."""
        return Cut(stamp_ns, message)

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """See `Stream`."""
        decoded = decode_image(cut.content, modality=self.modality, options=self.options)
        return Window(decoded.array, cut.stamp_ns, cut.stamp_ns, fault=_repaired(decoded.repaired))

    def forget(self) -> None:
        """See `Stream`; an image does not depend on earlier ones."""


@dataclass
class ClipStream:
    """The images of the last seconds, from which clips are taken.

    Messages are kept undecoded, because most are decoded late or never.
    """

    modality: str
    length_s: float = DEFAULT_CLIP_S
    options: ImageOptions = PLAIN_IMAGES
    _pictures: list[Picture] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.length_s <= 0:
            raise ValueError(f'length_s must be positive, not {self.length_s}')

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """See `Stream`."""
        first_ns = stamp_ns - round(self.length_s * 1e9)
        part_ns = self.length_s * 1e9 / PARTS
        with self._lock:
            kept = [p for p in self._pictures if first_ns <= p.stamp_ns < stamp_ns]
            if kept and kept[-1].stamp_ns // part_ns == stamp_ns // part_ns:
                kept.pop()
            self._pictures = [*kept, Picture(message, stamp_ns)]
            return Cut(stamp_ns, tuple(self._pictures))

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """See `Stream`; `raw` is a `Clip`."""
        chosen = self.chosen(cut, frames=frames)
        pictures: dict[int, NDArray[Any]] = {}
        repaired = ''
        for picture in chosen:
            if picture.stamp_ns not in known and picture.stamp_ns not in pictures:
                try:
                    decoded = decode_image(
                        picture.message, modality=self.modality, options=self.options
                    )
                except DecodeError:
                    self._discard(picture)  # otherwise the following clips would fail as well
                    raise
                pictures[picture.stamp_ns] = decoded.array
                repaired = decoded.repaired
        stamps = tuple(picture.stamp_ns for picture in chosen)
        clip = Clip(stamps, pictures)
        return Window(clip, stamps[0], cut.stamp_ns, fault=_repaired(repaired))

    def chosen(self, cut: Cut, *, frames: int) -> list[Picture]:
        """Return the undecoded messages of a clip's frames, in order, possibly with repeats."""
        stamps_ns = [picture.stamp_ns for picture in cut.content]
        return [cut.content[index] for index in evenly(stamps_ns, frames)]

    def forget(self) -> None:
        """See `Stream`."""
        with self._lock:
            self._pictures = []

    def _discard(self, picture: Picture) -> None:
        with self._lock:
            self._pictures = [p for p in self._pictures if p is not picture]


@dataclass(frozen=True, slots=True)
class _Chunk:
    number: int
    message: Any
    stamp_ns: int
    stamped: bool


class AudioStream:
    """Chunks of audio, joined to the window of an audio encoder.

    Attributes:
        options: Format of chunks without a description; may be replaced at any time.
    """

    def __init__(self, options: AudioOptions = PLAIN_SOUND, *, length_s: float = WINDOW_S) -> None:
        self.options = options
        self._window = AudioWindow(length_s)
        self._kept_ns = round((length_s + SPARE_S) * 1e9)
        self._pending: deque[_Chunk] = deque()
        self._encoded_ns = -ENCODED_PAUSE_NS
        self._repaired = ''
        # Numbers of the newest chunk, of the last decoded chunk, and of the newest chunk before
        # the last jump in time.
        self._count = self._decoded = self._forgotten = 0
        # Not held while decoding, because `add` is called on the thread that serves all sensors.
        self._lock = threading.Lock()

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """See `Stream`."""
        with self._lock:
            self._count += 1
            self._pending.append(_Chunk(self._count, message, stamp_ns, stamped))
            while self._pending[0].stamp_ns < stamp_ns - self._kept_ns:
                self._pending.popleft()
            return Cut(stamp_ns, self._count)

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """See `Stream`; every chunk up to the cut is decoded.

        An earlier chunk that cannot be decoded is a gap, which `fault` reports.
        """
        chunks = self._until(cut.content)
        if not chunks:
            raise _out_of_order()
        before, fault = self._window.restarts, None
        self._repaired = ''
        for chunk in chunks[:-1]:
            try:
                self._join(chunk)
            except DecodeError as error:
                fault = (error.fault, str(error))
        sound = self._join(chunks[-1])
        if fault is None and self._window.restarts > before:
            fault = ('gap', f'{self._window.why}; the window begins again')
        fault = fault or _repaired(self._repaired)
        return _sound_window(sound, fault)

    def until(self, end_ns: int, *, length_s: float | None = None) -> Window | None:
        """Return the window of decoded audio that ends at a given time; None if there is none.

        For labelled samples and pairs, which do not end with a chunk.

        Args:
            end_ns: End of the window.
            length_s: Length of the window; None for the usual one.
        """
        with self._lock:
            sound = self._window.until(end_ns, length_s=length_s)
        return None if sound is None else _sound_window(sound, None)

    def forget(self) -> None:
        """See `Stream`; does not count as a gap."""
        with self._lock:
            self._window.forget()
            self._pending.clear()
            self._forgotten = self._count

    def _until(self, number: int) -> list[_Chunk]:
        """Remove and return the pending chunks up to a number."""
        chunks = []
        with self._lock:
            while self._pending and self._pending[0].number <= number:
                chunks.append(self._pending.popleft())
        return chunks

    def _join(self, chunk: _Chunk) -> Sound:
        before, self._decoded = self._decoded, chunk.number
        try:
            decoded = decode_audio(
                chunk.message,
                rate_hz=self.options.rate_hz,
                channels=self.options.channels,
                sample_format=self.options.sample_format,
            )
        except EncodedSoundError:
            self._encoded_ns = chunk.stamp_ns
            raise
        since_ns = chunk.stamp_ns - self._encoded_ns
        if 0 <= since_ns < ENCODED_PAUSE_NS and not decoded.repaired:
            self._encoded_ns = chunk.stamp_ns
            raise EncodedSoundError('an encoded file, in its middle')
        self._repaired = decoded.repaired
        # Without a stamp, a chunk ends when it arrives.
        length_ns = round(decoded.wave.shape[1] * 1e9 / decoded.rate_hz)
        start_ns = chunk.stamp_ns if chunk.stamped else chunk.stamp_ns - length_ns
        with self._lock:
            if chunk.number <= self._forgotten:
                raise _out_of_order()
            if chunk.number > before + 1:  # chunks between were dropped as too old: not a gap
                self._window.forget()
            return self._window.add(
                decoded.wave, rate_hz=decoded.rate_hz, start_ns=start_ns, stamped=chunk.stamped
            )


def _out_of_order() -> DecodeError:
    return DecodeError('was decoded before, or its stream began again', fault='order')


def _repaired(line: str) -> tuple[str, str] | None:
    return ('repaired', line) if line else None


def _sound_window(sound: Sound, fault: tuple[str, str] | None) -> Window:
    raw = (sound.wave, sound.rate_hz)
    return Window(raw, sound.start_ns, sound.end_ns, end=sound.end, fault=fault)


def stream_of(
    modality: str,
    *,
    images: ImageOptions = PLAIN_IMAGES,
    sound: AudioOptions = PLAIN_SOUND,
    clip_s: float = DEFAULT_CLIP_S,
    series: SeriesOptions = PLAIN_SERIES,
    series_s: float = SERIES_S,
) -> Stream:
    """Make the stream of a sensor of a modality."""
    kind = MODALITIES[modality].kind
    if kind == 'sound':
        return AudioStream(sound)
    if kind == 'clip':
        return ClipStream(modality, clip_s, images)
    if kind == 'series':
        return SeriesStream(modality, series, length_s=series_s)
    return ImageStream(modality, images)


def evenly(stamps_ns: Sequence[int], count: int) -> list[int]:
    """Return the indices of the newest images at `count` even times, from first to last.

    For a steady camera, these are the frames that LanguageBind takes from a clip of these images.

    Args:
        stamps_ns: Ascending stamps, at least one.
        count: Number of indices; images are repeated if there are fewer.
    """
    first, span = stamps_ns[0], stamps_ns[-1] - stamps_ns[0]
    parts = max(1, count - 1)
    times = [first + span * part // parts for part in range(parts + 1)]
    return [bisect_right(stamps_ns, time) - 1 for time in times[-count:]]
