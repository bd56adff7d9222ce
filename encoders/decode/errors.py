"""What goes wrong when a message is not what it says."""

from __future__ import annotations


class DecodeError(ValueError):
    """A message cannot be turned into an array; the text says what was found and what would do.

    Attributes:
        fault: In one word: `encoding` (unknown, or of another sensor), `size` (the bytes do not
            fit what the message says) or `content` (damaged, or without a single valid value).
    """

    def __init__(self, text: str, *, fault: str = 'content') -> None:
        super().__init__(text)
        self.fault = fault
