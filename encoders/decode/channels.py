"""Channels described in words: any numeric field of any message, or column of a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.decode.errors import DecodeError

STEP = re.compile(r'\.?([A-Za-z_]\w*)|\[(\d+)\]|\{([^{}]+)\}')


@dataclass(frozen=True, slots=True)
class ChannelDescription:
    """What a channel measures, and where it comes from.

    Attributes:
        sentence: What it measures, with its unit: "torque about the tool axis of the nutrunner,
            newton metres". Its vector conditions the encoder.
        topic: Topic of its messages in bags.
        field: Path of the number in a message: `wrench.force.x`, `data[3]`, or
            `effort{finger_joint}`, the entry at the place of that name in `name`.
        floor: Smallest change that matters, in its unit; None for that of a known quantity, or 1.
        relative: Only changes count: it has no absolute value.
        rests: It may be exactly constant; otherwise a constant channel counts as dead.
    """

    sentence: str
    topic: str = ''
    field: str = ''
    floor: float | None = None
    relative: bool = False
    rests: bool = False

    def __post_init__(self) -> None:
        if not self.sentence.strip():
            raise ValueError('sentence must say what the channel measures')
        if bool(self.topic) != bool(self.field):
            raise ValueError('topic and field must be given together')
        if self.field:
            steps_of(self.field)
        if self.floor is not None and not self.floor > 0:
            raise ValueError(f'floor must be positive, not {self.floor}')

    @property
    def source(self) -> str:
        """Topic without leading slash, and field; empty for a column of recordings."""
        return f'{self.topic.lstrip("/")}:{self.field}' if self.topic else ''


def steps_of(path: str) -> tuple[str | int | tuple[str], ...]:
    """The steps of a path: names, numbers, and `(name,)` for an entry by its name.

    Raises:
        ValueError: It is no path.
    """
    steps: list[str | int | tuple[str]] = []
    at = 0
    while at < len(path):
        found = STEP.match(path, at)
        if found is None:
            raise ValueError(f'{path!r} is no path of a field, such as wrench.force.x or data[3]')
        name, index, entry = found.groups()
        steps.append(name if name else (entry,) if entry else int(index))
        at = found.end()
    if not steps:
        raise ValueError('a path of a field must not be empty')
    return tuple(steps)


def field_of(message: Any, path: str) -> float:
    """The number at a path of a message; NaN if a list is too short or a name is missing.

    Raises:
        DecodeError: The message has no such field, or it is no number.
    """
    value = message
    for step in steps_of(path):
        try:
            if isinstance(step, str):
                value = getattr(value, step)
            elif isinstance(step, tuple):
                value = _entry(message, value, step[0])
            else:
                value = value[step] if step < len(value) else np.nan
        except (AttributeError, TypeError) as error:
            raise DecodeError(
                f'{type(message).__name__} has no field {path!r} ({error})', fault='encoding'
            ) from error
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DecodeError(
            f'{path!r} of {type(message).__name__} is no number but {type(value).__name__}',
            fault='encoding',
        ) from error


def _entry(message: Any, values: Any, name: str) -> Any:
    names = [str(each) for each in message.name]
    place = names.index(name) if name in names else len(values)
    return values[place] if place < len(values) else np.nan


def config_values(channels: Mapping[str, ChannelDescription]) -> dict[str, Any]:
    """Values of a `SeriesConfig` for some described channels, without statistics."""
    floors = {name: one.floor for name, one in channels.items()}
    values: dict[str, Any] = {
        'channels': tuple(channels),
        'words': tuple(one.sentence for one in channels.values()),
        'relative': tuple(name for name, one in channels.items() if one.relative),
        'resting': tuple(name for name, one in channels.items() if one.rests),
    }
    if any(one.source for one in channels.values()):
        values['sources'] = tuple(one.source for one in channels.values())
    if any(floor is not None for floor in floors.values()):
        values['floor'] = tuple(1.0 if floor is None else floor for floor in floors.values())
    return values
