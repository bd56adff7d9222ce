"""Messages of one sensor to the windows that are encoded.

Live nodes, `lb-ros score`, pairs and training all cut windows here, so that what is trained on,
what is scored and what is served are the same stretches of the same stream. `add` takes every
message in order and is cheap; `window` decodes what `add` returned. Only the messages that are
encoded are decoded, except that every chunk of sound is.
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
from encoders.modalities import MODALITIES

DEFAULT_CLIP_S = 2.0
# Of each of so many parts of a clip's window the newest picture is kept: four for each of eight
# frames.
PARTS = 32
# Chunks wait to be decoded while nothing is encoded; those so much older than the newest one, in
# addition to the window, are dropped.
SPARE_S = 1.0
# The middle of an encoded file looks like samples; what follows its beginning without such a pause
# is more of it.
ENCODED_PAUSE_NS = 2_000_000_000
PLAIN_IMAGES, PLAIN_SOUND = ImageOptions(), AudioOptions()


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a window in its stream, not decoded yet.

    Attributes:
        stamp_ns: When the message that ends the window was sensed (of sound: its first sample).
        content: For the stream that made it.
    """

    stamp_ns: int
    content: Any


@dataclass(frozen=True, slots=True)
class Window:
    """A decoded window.

    Attributes:
        raw: As `Binder.preprocess` takes it: an image, `(wave, rate in hertz)`, or a `Clip`.
        start_ns, stamp_ns: Its first and last instant; equal for an image.
        end: Number of the sample after the last one in a stream of sound; none is used twice.
        fault: Kind and line where the window is not what it should be, or None.
    """

    raw: Any
    start_ns: int
    stamp_ns: int
    end: int = 0
    fault: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A message of a camera and when it was sensed."""

    message: Any
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of a clip.

    Attributes:
        stamps_ns: Of all frames, in order; a picture may occur several times.
        pictures: Stamp to decoded picture, uint8 `[H, W, 3]`, without those that are known.
    """

    stamps_ns: tuple[int, ...]
    pictures: dict[int, NDArray[Any]]


class Stream(Protocol):
    """One sensor's messages. Safe for one thread that adds and another one that decodes."""

    def add(self, message: Any, *, stamp_ns: int, stamped: bool = True) -> Cut:
        """Take the next message; returns the window that ends with it.

        Args:
            message: Of a type that `encoders.decode` knows.
            stamp_ns: When it was sensed (of sound: its first sample).
            stamped: False where that is only the time of arrival.
        """
        ...

    def window(self, cut: Cut, *, frames: int = 1, known: Container[int] = ()) -> Window:
        """Decode a window; those of one stream in order.

        Args:
            cut: What `add` returned.
            frames: Pictures of a clip.
            known: Stamps of pictures of a clip that need not be decoded again.

        Raises:
            DecodeError: A message cannot be decoded.
        """
        ...

    def forget(self) -> None:
        """Begin again with the next message: time has jumped."""
        ...


@dataclass
class ImageStream:
    """Images: each is a window."""

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
    """The pictures of the last seconds, from which clips are taken.

    Messages are kept as they came: most are decoded late, or never.
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
                    self._discard(picture)  # it would spoil the following clips as well
                    raise
                pictures[picture.stamp_ns] = decoded.array
                repaired = decoded.repaired
        stamps = tuple(picture.stamp_ns for picture in chosen)
        clip = Clip(stamps, pictures)
        return Window(clip, stamps[0], cut.stamp_ns, fault=_repaired(repaired))

    def chosen(self, cut: Cut, *, frames: int) -> list[Picture]:
        """The messages of a clip's frames, in order, not decoded; one may occur several times."""
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
    """Chunks of sound, joined to the window that a sound encoder hears.

    Attributes:
        options: What chunks that do not describe themselves are; may be replaced at any time.
    """

    def __init__(self, options: AudioOptions = PLAIN_SOUND, *, length_s: float = WINDOW_S) -> None:
        self.options = options
        self._window = AudioWindow(length_s)
        self._kept_ns = round((length_s + SPARE_S) * 1e9)
        self._pending: deque[_Chunk] = deque()
        self._encoded_ns = -ENCODED_PAUSE_NS
        self._repaired = ''
        # Numbers of chunks: of the newest, of the last one to be decoded, and of the newest one
        # before time jumped.
        self._count = self._decoded = self._forgotten = 0
        # Nothing is decoded under it: `add` is called on the thread that serves all sensors.
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
        """The window at a moment of the sound that is decoded; None where there is none.

        For labelled moments and pairs, which do not end where a chunk does.

        Args:
            end_ns: The moment.
            length_s: Of the window; the usual one where None.
        """
        with self._lock:
            sound = self._window.until(end_ns, length_s=length_s)
        return None if sound is None else _sound_window(sound, None)

    def forget(self) -> None:
        """See `Stream`; not a gap."""
        with self._lock:
            self._window.forget()
            self._pending.clear()
            self._forgotten = self._count

    def _until(self, number: int) -> list[_Chunk]:
        """Take the chunks up to a number."""
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
            if chunk.number > before + 1:  # those between were too old to wait, which is no gap
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
) -> Stream:
    """The stream of a sensor of a modality."""
    kind = MODALITIES[modality].kind
    if kind == 'sound':
        return AudioStream(sound)
    if kind == 'clip':
        return ClipStream(modality, clip_s, images)
    return ImageStream(modality, images)


def evenly(stamps_ns: Sequence[int], count: int) -> list[int]:
    """Indices of the pictures that were the newest at `count` even times, first to last.

    Of a steady camera, those that LanguageBind takes of a clip of as many pictures.

    Args:
        stamps_ns: Rising, at least one.
        count: How many; pictures are repeated where there are fewer.
    """
    first, span = stamps_ns[0], stamps_ns[-1] - stamps_ns[0]
    parts = max(1, count - 1)
    times = [first + span * part // parts for part in range(parts + 1)]
    return [bisect_right(stamps_ns, time) - 1 for time in times[-count:]]
