"""One microphone's messages, put together to the window that is heard."""

from __future__ import annotations

import threading
from typing import Any

from encoders import AudioOptions, decode_audio
from encoders.decode.audio_window import AudioWindow, Window


class SoundInput:
    """Decodes chunks and joins them. Safe to use from several threads."""

    def __init__(self, length_s: float, options: AudioOptions) -> None:
        self.options = options
        self._window = AudioWindow(length_s)
        self._lock = threading.Lock()

    def add(
        self, message: Any, *, stamp_ns: int, stamped: bool = True
    ) -> tuple[Window, int, tuple[str, str] | None]:
        """Take a chunk.

        Args:
            message: See `encoders.decode_audio`.
            stamp_ns: Of its first sample; of its arrival where it carries no stamp.
            stamped: Whether it carries one.

        Returns:
            The window so far, the time of its end, and a fault with a line where sound is missing.

        Raises:
            encoders.DecodeError: It cannot be decoded.
        """
        options = self.options
        chunk = decode_audio(
            message,
            rate_hz=options.rate_hz,
            channels=options.channels,
            sample_format=options.sample_format,
        )
        length_ns = round(chunk.wave.shape[1] * 1e9 / chunk.rate_hz)
        start_ns = stamp_ns if stamped else stamp_ns - length_ns
        with self._lock:
            before = self._window.restarts
            window = self._window.add(
                chunk.wave, rate_hz=chunk.rate_hz, start_ns=start_ns, stamped=stamped
            )
            fault = None
            if self._window.restarts > before:
                fault = ('gap', f'{self._window.why}; the window begins anew')
        return window, window.end_ns, fault

    def forget(self) -> None:
        """Begin anew with the next chunk, without calling it a gap."""
        with self._lock:
            self._window.forget()
