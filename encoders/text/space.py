"""The rule that vectors of two language spaces are never compared."""

from __future__ import annotations


class SpaceError(ValueError):
    """Vectors of two different language spaces were about to be compared."""
