"""Lines about what could not be used: each kind once, floods with their count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NUMBER = re.compile(r'\d+(?:[.,]\d+)*')
DETAIL = re.compile(r' \(.*?\)')


@dataclass
class Problems:
    """Lines in the order in which their kinds first occurred.

    Iterating gives one line per kind; those of messages end with how many there were.
    """

    _lines: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        for key, line in self._lines.items():
            count = self._counts[key]
            yield f'{line} ({count:,} messages)' if count > 1 else line

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: str) -> None:
        """Note a line once."""
        self._note(line, line, 0)

    def add_message(self, line: str) -> None:
        """Note what is wrong with a message; lines that differ in numbers only are one kind."""
        self._note(NUMBER.sub('#', DETAIL.sub('', line)), line, 1)

    def extend(self, other: Problems) -> None:
        """Note what another one noted, as of other messages."""
        for key, line in other._lines.items():
            self._note(key, line, other._counts[key])

    def _note(self, key: str, line: str, count: int) -> None:
        self._lines.setdefault(key, line)
        self._counts[key] = self._counts.get(key, 0) + count

    def stored(self) -> list[list[str]]:
        """Rows of text for a file; see `restore`."""
        return [[key, line, str(self._counts[key])] for key, line in self._lines.items()]

    def restore(self, rows: Sequence[Sequence[str]]) -> None:
        """Note what `stored` gave."""
        for key, line, count in rows:
            self._note(str(key), str(line), int(count))
