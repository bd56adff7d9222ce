"""Errors that several packages of `encoders` raise."""

from __future__ import annotations


class ModelSetError(ValueError):
    """A model set is missing or damaged; the message names the file and the problem."""


class EngineError(ValueError):
    """An engine cannot run a tower, or not with the same result; the message names the remedy."""


class SpaceError(ValueError):
    """An attempt to compare vectors of different language spaces."""
