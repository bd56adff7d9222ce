"""What readers of recordings yield: runs with named columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RecordingError(ValueError):
    """A recording is unusable; the message names the file, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch of recording without interruption.

    Attributes:
        name: Unique within its file.
        columns: Arrays `[T, ...]` by name, one row per reading.
        values: What is the same for the whole run, by name.
        entries: Names of the entries of an array `[T, N]`, where the source has them.
        time: Column of the times in seconds, if the source has a usual one.
    """

    name: str
    columns: Mapping[str, Array]
    values: Mapping[str, Any] = field(default_factory=dict)
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: str = ''

    def value(self, name: str) -> Any:
        """A value of the run, or of the last row of a column.

        Raises:
            RecordingError: There is no such value.
        """
        if name in self.values:
            return self.values[name]
        column = self.columns.get(name)
        if column is None or column.ndim != 1 or not len(column):
            known = ', '.join([*self.values, *(n for n, c in self.columns.items() if c.ndim == 1)])
            raise RecordingError(
                f'run {self.name}: no value {name!r}; there are {known or "none"}'
            )
        return column[-1]

    def matching(self, pattern: str) -> list[tuple[str, Array]]:
        """The flat columns that match a pattern, in the order of the source."""
        wanted = re.compile('.*'.join(map(re.escape, pattern.split('*'))))
        found: list[tuple[str, Array]] = []
        for name, array in self.columns.items():
            if array.ndim > 1 and not wanted.match(name) and not _may_match(pattern, name):
                continue
            found += [pair for pair in self._flat(name, array) if wanted.fullmatch(pair[0])]
        return found

    def _flat(self, name: str, array: Array) -> Iterator[tuple[str, Array]]:
        if array.ndim < 2:
            yield name, array
            return
        named = self.entries.get(name, ())
        for place in np.ndindex(*array.shape[1:]):
            if len(named) == array.shape[1] and len(place) == 1:
                label = f'{name}.{named[place[0]]}'
            else:
                label = name + ''.join(f'[{index}]' for index in place)
            yield label, array[(slice(None), *place)]

    def flat_names(self) -> list[str]:
        """Names of all flat columns."""
        return [
            label for name, array in self.columns.items() for label, _ in self._flat(name, array)
        ]


def _may_match(pattern: str, name: str) -> bool:
    """Whether a flat column of an array may match, judged by what is before the first `*`."""
    head = pattern.split('*')[0]
    return head.startswith(name) or name.startswith(head)


def numbers(column: Array, what: str) -> NDArray[np.float64]:
    """A column as float64.

    Raises:
        RecordingError: It holds something else than numbers.
    """
    try:
        return np.asarray(column, np.float64)
    except (TypeError, ValueError) as error:
        raise RecordingError(f'{what} does not hold numbers ({error})') from error
