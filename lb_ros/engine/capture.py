"""Audio capture from a local device, found by name and reopened after it was unplugged."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOW_TO_GET_PORTAUDIO = 'on Debian: apt install libportaudio2'
SILENT_S = 1.0  # PortAudio has no hot-plug events: a device without callbacks counts as gone
RETRY_S = 1.0
MAX_WAITING = 200  # chunks
MAX_JUMP_S = 0.03  # between the measured stamp of a chunk and the one from counting samples
FOLLOW_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Recorded:
    """Audio samples int16 `[n, channels]`; `stamp_ns` is the time of the first one."""

    samples: NDArray[np.int16]
    stamp_ns: int


class SampleClock:
    """Stamps from counting samples: exact between chunks, slowly following the computer's clock.

    Attributes:
        gaps: Number of gaps in the audio.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._next_ns: float | None = None
        self.gaps = 0

    def stamp(self, measured_ns: int, count: int, *, lost: bool = False) -> int:
        """Return the time of the first of `count` samples in nanoseconds.

        Args:
            measured_ns: Time of the first sample as measured by the driver, with jitter.
            count: Samples per channel.
            lost: Whether the driver reports that earlier samples were lost.
        """
        first_ns = float(measured_ns)
        if self._next_ns is not None:
            off_ns = measured_ns - self._next_ns
            if lost or abs(off_ns) > MAX_JUMP_S * 1e9:
                self.gaps += 1
            else:
                first_ns = self._next_ns + FOLLOW_SHARE * off_ns
        self._next_ns = first_ns + count * 1e9 / self._rate_hz
        return round(first_ns)


class Capture:
    """Records from a device until it is closed; call `poll` regularly.

    Args:
        device: Part of the name of an input device; empty for the system's default.
        rate_hz: Samples per second and channel.
        channels: Number of channels, at least 1.
        chunk_ms: Length of a chunk.
        now_ns: Returns the time of the ROS clock.
        log: Receives a line when the device disappears and when it returns.
        driver: The module sounddevice; imported if None.
        clock: Returns monotonic seconds.

    Raises:
        ValueError: The device does not exist or does not support this format.

    Attributes:
        dropped: Number of chunks that were not fetched in time.
        reopened: Number of times the device was reopened.
    """

    def __init__(
        self,
        *,
        device: str,
        rate_hz: int,
        channels: int,
        chunk_ms: int,
        now_ns: Callable[[], int],
        log: Callable[[str], None],
        driver: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._rate_hz, self._channels = device, rate_hz, channels
        self._blocksize = max(1, rate_hz * chunk_ms // 1000)
        self._now_ns, self._log, self._clock = now_ns, log, clock
        self._driver = load_sounddevice() if driver is None else driver
        # The driver calls `_store` from its own thread, which must never block.
        self._recorded: queue.Queue[Recorded] = queue.Queue(MAX_WAITING)
        self._clocks = SampleClock(rate_hz)
        self._gaps_before = self.dropped = self.reopened = 0
        self._lock = threading.Lock()
        self._called_s = self._tried_s = clock()
        self._is_gone = self._runs = False
        self._stream: Any = self._open()

    @property
    def gaps(self) -> int:
        """Number of gaps in the audio, including those while the device was gone."""
        return self._gaps_before + self._clocks.gaps

    @property
    def is_gone(self) -> bool:
        """Whether the device has stopped."""
        return self._is_gone

    def start(self) -> None:
        """Start recording."""
        self._called_s, self._runs = self._clock(), True
        self._stream.start()

    def stop(self) -> None:
        """Stop recording and discard unfetched chunks; the pause does not count as a gap."""
        self._runs = False
        if self._stream is not None:
            self._stream.stop()
        self._gaps_before += self._clocks.gaps
        self._clocks = SampleClock(self._rate_hz)
        while not self._recorded.empty():
            self._recorded.get_nowait()

    def poll(self) -> list[Recorded]:
        """Return what was recorded since the last call; try to reopen a device that is gone."""
        self._look_after()
        found = []
        while True:
            try:
                found.append(self._recorded.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        """Close the device."""
        self._close_stream()

    def _open(self) -> Any:
        name = self._device or '(default)'
        try:
            stream = self._driver.InputStream(
                device=self._device or None,
                samplerate=self._rate_hz,
                channels=self._channels,
                blocksize=self._blocksize,
                dtype='int16',
                callback=self._store,
            )
        except (self._driver.PortAudioError, ValueError) as error:
            raise ValueError(
                f'microphone {name!r}, {self._rate_hz} Hz, {self._channels} channels: {error}'
            ) from error
        self._called_s = self._clock()
        return stream

    def _store(self, samples: NDArray[np.int16], count: int, times: Any, status: Any) -> None:
        # `inputBufferAdcTime` uses PortAudio's clock; only its difference to now is used.
        age_ns = round((times.currentTime - times.inputBufferAdcTime) * 1e9)
        lost = bool(getattr(status, 'input_overflow', status))
        stamp_ns = self._clocks.stamp(self._now_ns() - max(0, age_ns), len(samples), lost=lost)
        self._called_s = self._clock()
        try:
            self._recorded.put_nowait(Recorded(samples.copy(), stamp_ns))
        except queue.Full:
            self.dropped += 1

    def _look_after(self) -> None:
        now_s = self._clock()
        if not self._runs:
            return
        with self._lock:
            if not self._is_gone and now_s - self._called_s > SILENT_S:
                self._is_gone, self._tried_s = True, now_s
                self._log(
                    f'microphone {self._device or "(default)"!r} gave nothing for '
                    f'{now_s - self._called_s:.1f} s: is it unplugged? it is tried every '
                    f'{RETRY_S:.0f} s'
                )
                self._close_stream()
            if not self._is_gone or now_s - self._tried_s < RETRY_S:
                return
            self._tried_s = now_s
            try:
                # PortAudio reads the list of devices only when it is initialized.
                self._driver._terminate()
                self._driver._initialize()
                self._gaps_before += self._clocks.gaps
                self._clocks = SampleClock(self._rate_hz)
                self._stream = self._open()
                self._stream.start()
            except (ValueError, self._driver.PortAudioError):
                return
            self._gaps_before += 1
            self._is_gone = False
            self.reopened += 1
            self._log(f'microphone {self._device or "(default)"!r} records again')

    def _close_stream(self) -> None:
        if self._stream is None:
            return
        with contextlib.suppress(self._driver.PortAudioError):  # the device may be gone already
            self._stream.close()
        self._stream = None


def load_sounddevice() -> Any:
    """Import the module sounddevice, which loads the PortAudio library.

    Raises:
        ModuleNotFoundError: One of them is missing; the message explains how to install it.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'microphone capture needs the package sounddevice: pip install sounddevice'
        ) from error
    except OSError as error:
        raise ModuleNotFoundError(
            f'microphone capture needs the PortAudio library; {HOW_TO_GET_PORTAUDIO}'
        ) from error
    return sounddevice
