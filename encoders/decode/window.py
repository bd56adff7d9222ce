"""A window of a stream, before and after it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a window in its stream, not decoded yet.

    Attributes:
        stamp_ns: When the message that ends the window was sensed (audio: its first sample).
        content: Data of the stream that created it.
    """

    stamp_ns: int
    content: Any


@dataclass(frozen=True, slots=True)
class Window:
    """A decoded window.

    Attributes:
        raw: Input of `Binder.preprocess`: an image, `(wave, rate in hertz)`, a `Clip`,
            or a `Series`.
        start_ns, stamp_ns: Its first and last instant; equal for an image.
        end: In audio, the number of the sample after the last one; no number is used twice.
        fault: Kind and description of a defect of the window, or None.
    """

    raw: Any
    start_ns: int
    stamp_ns: int
    end: int = 0
    fault: tuple[str, str] | None = None
