"""Answers of models by content hash, in one SQLite file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# SQLite's own limit of parameters in one statement is larger.
ASKED_AT_ONCE = 500
WAIT_S = 60.0  # for another process that writes


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of answers, which several processes may use at the same time.

    Every answer is written before the next is asked for, so a run that was killed asks only for
    what is missing.

    Attributes:
        path: The file; None keeps nothing.
    """

    path: Path | None = None

    def answers(
        self, keys: Sequence[str], ask: Callable[[list[int]], Sequence[bytes]]
    ) -> list[bytes]:
        """Return one answer per key.

        Args:
            keys: What identifies each answer; see `key_of`.
            ask: Returns the answers at these positions of `keys`; called once, or not at all.

        Raises:
            ValueError: The file is not a file of answers.
        """
        if self.path is None:
            return list(ask(list(range(len(keys)))))
        with self._opened(self.path) as table:
            known = dict(_read(table, keys))
            # Equal keys are asked once.
            missing = {key: at for at, key in enumerate(keys) if key not in known}
            if missing:
                answers = ask(list(missing.values()))
                new = dict(zip(missing, answers, strict=True))
                with table:
                    table.executemany('INSERT OR REPLACE INTO answers VALUES (?, ?)', new.items())
                known |= new
        return [known[key] for key in keys]

    @contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(path, timeout=WAIT_S)) as table:
                with table:
                    table.execute(
                        'CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer BLOB)'
                    )
                yield table
        except sqlite3.Error as error:
            raise ValueError(f'{path}: {error}; delete the file to ask again') from error


def _read(table: sqlite3.Connection, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for start in range(0, len(keys), ASKED_AT_ONCE):
        part = keys[start : start + ASKED_AT_ONCE]
        marks = ','.join('?' * len(part))
        yield from table.execute(f'SELECT key, answer FROM answers WHERE key IN ({marks})', part)


def key_of(*parts: str | NDArray[np.generic]) -> str:
    """Return a hash of texts and arrays, in which shapes and dtypes count."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f'text {len(part)} {part}'.encode())
        else:
            digest.update(f'array {part.dtype} {part.shape} '.encode())
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
