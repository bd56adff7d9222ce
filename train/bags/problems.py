"""Lines about unusable data: one line per kind, with a count for repeated messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NUMBER = re.compile(r'\d+(?:[.,]\d+)*')
DETAIL = re.compile(r' \(.*?\)')


@dataclass
class Problems:
    """Problem lines in the order in which their kinds first occurred.

    Iterating yields one line per kind; lines about messages end with the number of messages.
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
        """Add a line once."""
        self._note(line, line, 0)

    def add_message(self, line: str) -> None:
        """Add a problem of a message; lines that differ only in numbers are of the same kind."""
        self._note(NUMBER.sub('#', DETAIL.sub('', line)), line, 1)

    def extend(self, other: Problems) -> None:
        """Add the problems of another collection, about other messages."""
        for key, line in other._lines.items():
            self._note(key, line, other._counts[key])

    def _note(self, key: str, line: str, count: int) -> None:
        self._lines.setdefault(key, line)
        self._counts[key] = self._counts.get(key, 0) + count

    def stored(self) -> list[list[str]]:
        """Rows of text for storage in a file; see `restore`."""
        return [[key, line, str(self._counts[key])] for key, line in self._lines.items()]

    def restore(self, rows: Sequence[Sequence[str]]) -> None:
        """Add the rows that `stored` returned."""
        for key, line, count in rows:
            self._note(str(key), str(line), int(count))
