"""The error for messages that cannot be decoded."""

from __future__ import annotations


class DecodeError(ValueError):
    """A message cannot be decoded; the text names what was found and what was expected.

    Attributes:
        fault: `encoding` (unknown, or of another sensor), `size` (the bytes do not match the
            fields of the message) or `content` (damaged, or without a valid value).
    """

    def __init__(self, text: str, *, fault: str = 'content') -> None:
        super().__init__(text)
        self.fault = fault
