"""Channels described in words: any numeric field of any message, or column of a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.decode.errors import DecodeError

STEP = re.compile(r'\.?([A-Za-z_]\w*)|\[(\d+)\]|\{([^{}]+)\}')
# Entries of an array, the second number excluded, as in Python; each becomes a channel.
ENTRIES = re.compile(r'\[(\d+):(\d+)\]')
INDEX = '{index}'


@dataclass(frozen=True, slots=True)
class ChannelDescription:
    """What a channel measures, and where it comes from.

    Attributes:
        sentence: What it measures, with its unit: "torque about the tool axis of the nutrunner,
            newton metres". Its vector conditions the encoder.
        topic: Topic of its messages in bags.
        field: Path of the number in a message: `wrench.force.x`, `data[3]`, or
            `effort{finger_joint}`, the entry at the place of that name in `name`. `data[0:16]` is
            16 channels, see `one_by_one`.
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
            steps_of(ENTRIES.sub('[0]', self.field, count=1))
        if self.floor is not None and not self.floor > 0:
            raise ValueError(f'floor must be positive, not {self.floor}')

    @property
    def source(self) -> str:
        """Topic without leading slash, and field; empty for a column of recordings."""
        return f'{self.topic.lstrip("/")}:{self.field}' if self.topic else ''


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A message and its topic, without leading slash; several topics feed described channels."""

    topic: str
    message: Any

    @property
    def header(self) -> Any:
        """The header of the message; None if it has none."""
        return getattr(self.message, 'header', None)


@lru_cache(maxsize=4096)
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


def row_of(sent: TopicMessage, sources: Sequence[str]) -> NDArray[np.float64]:
    """The channels of a message, float64 `[C]`; NaN for those of other topics.

    Args:
        sent: The message.
        sources: Topic and field of each channel, `TOPIC:FIELD`; empty for none.

    Raises:
        DecodeError: The message lacks a field, or it is no number.
    """
    row = np.full(len(sources), np.nan)
    for place, source in enumerate(sources):
        topic, _, path = source.partition(':')
        if topic == sent.topic and path:
            row[place] = field_of(sent.message, path)
    return row


def topics_of(sources: Sequence[str]) -> tuple[str, ...]:
    """The topics of some `TOPIC:FIELD`, each once, in order."""
    topics = (source.partition(':')[0] for source in sources)
    return tuple(dict.fromkeys(topic for topic in topics if topic))


def _entry(message: Any, values: Any, name: str) -> Any:
    names = [str(each) for each in message.name]
    place = names.index(name) if name in names else len(values)
    return values[place] if place < len(values) else np.nan


def one_by_one(channels: Mapping[str, ChannelDescription]) -> dict[str, ChannelDescription]:
    """The channels, with one for each entry of an array: `pad` of `data[0:2]` is two.

    They are `pad[0]` and `pad[1]`. Their sentences are those of `pad`, with the number in the
    place of `{index}`.

    Raises:
        ValueError: A range of entries is empty, or two channels have one name.
    """
    found: dict[str, ChannelDescription] = {}
    for name, one in channels.items():
        entries = ENTRIES.search(one.field)
        parts = {name: one}
        if entries is not None:
            start, stop = int(entries[1]), int(entries[2])
            if start >= stop:
                raise ValueError(f'{name}: {entries[0]} of {one.field} has no entry')
            parts = {f'{name}[{n}]': _at(one, entries, n) for n in range(start, stop)}
        if taken := parts.keys() & found.keys():
            raise ValueError(f'two channels are named {min(taken)}')
        found |= parts
    return found


def _at(one: ChannelDescription, entries: re.Match[str], number: int) -> ChannelDescription:
    field = one.field[: entries.start()] + f'[{number}]' + one.field[entries.end() :]
    return replace(one, field=field, sentence=one.sentence.replace(INDEX, str(number)))


def config_values(channels: Mapping[str, ChannelDescription]) -> dict[str, Any]:
    """Values of a `SeriesConfig` for some described channels, without statistics.

    Raises:
        ValueError: See `one_by_one`.
    """
    channels = one_by_one(channels)
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
