"""Errors that several rooms raise."""

from __future__ import annotations


class ModelSetError(ValueError):
    """A model set is missing or damaged; the text names the file and what is wrong."""


class SpaceError(ValueError):
    """Vectors of two different language spaces were about to be compared."""
