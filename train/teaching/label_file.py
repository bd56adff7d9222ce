"""The labels of one bag while a person edits them: every change is on disk before it is shown."""

from __future__ import annotations

import fcntl
import math
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from train.bags.labels import (
    Label,
    check_columns,
    cut,
    read_label_file,
    without_overlaps,
    word_of,
    write_label_file,
)

# A stretch that is shown: start and end in seconds, and its word.
Shown = tuple[float, float, str]


class LabelFile:
    """The labels of one bag in a file, which may hold those of other bags. Thread-safe.

    Every change reads the file again and replaces it as a whole, while other processes that change
    a file of this folder wait: two that label the same bag keep what both said. Where a new
    stretch overlaps earlier ones of its predicate, it wins; with those of the same truth it
    becomes one.

    Args:
        path: The file; made with the first label.
        bag: Name of the bag.
        names: Predicates that are shown without labels as well.

    Raises:
        ValueError: The file is malformed; the message names its line and the remedy.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: Path, bag: str, *, names: Sequence[str] = ()) -> None:
        self.path, self.bag = path, bag
        self._names = tuple(names)
        self._lock = threading.Lock()
        # Of every change: its predicate, the labels before and after it, and what was done.
        self._undo: list[tuple[str, list[Label], list[Label], str]] = []
        self._own: list[Label] = []
        _check_writable(path)
        self._own = self._read()[1]

    @property
    def count(self) -> int:
        """Number of stretches of the bag."""
        with self._lock:
            return len(self._own)

    def shown(self) -> dict[str, list[Shown]]:
        """The stretches of every predicate, in order of time."""
        found: dict[str, list[Shown]] = {name: [] for name in self._names}
        with self._lock:
            for each in sorted(self._own, key=lambda each: each.start_ns):
                stretch = (round(each.start_s, 3), round(each.end_s, 3), each.word)
                found.setdefault(each.predicate, []).append(stretch)
        return found

    def add(self, name: str, truth: bool | None, start_s: float, end_s: float) -> str:
        """Label a stretch, or a moment; return what was done, in words.

        Raises:
            ValueError: The name is empty, a time is not usable, or the file is malformed.
            OSError: The file cannot be written; nothing has changed.
        """
        name = ' '.join(name.split())
        if not name:
            raise ValueError('a label needs a predicate')
        if not (math.isfinite(start_s) and math.isfinite(end_s)):
            raise ValueError('start and end must be seconds')
        begin_ns, end_ns = sorted(round(max(0.0, time_s) * 1e3) * 1_000_000
                                  for time_s in (start_s, end_s))  # fmt: skip
        new = Label(self.bag, name, truth, begin_ns, end_ns)
        said = f'{word_of(truth)} {_span(new)}'
        with self._alone():
            others, own = self._read()
            kept = [each for each in own if each.predicate != name]
            parts = []
            for old in (each for each in own if each.predicate == name):
                if old.truth is truth and _touch(old, new):
                    new = replace(new, start_ns=min(old.start_ns, new.start_ns),
                                  end_ns=max(old.end_ns, new.end_ns))  # fmt: skip
                else:
                    parts += cut(old, new) if old.meets(new) else [old]
            self._save(others, own, [*kept, *parts, new], name=name, said=said)
        return f'saved: {said}'

    def remove(self, name: str, at_s: float) -> str:
        """Remove the stretch of a predicate at a time; return what was done, in words.

        Raises:
            ValueError: There is none, or the file is malformed.
            OSError: The file cannot be written; nothing has changed.
        """
        time_ns = round(at_s * 1e3) * 1_000_000
        with self._alone():
            others, own = self._read()
            there = [
                each
                for each in own
                if each.predicate == name and each.start_ns <= time_ns <= each.end_ns
            ]
            if not there:
                raise ValueError(f'{name}: no label at {at_s:.1f} s to remove')
            gone = next((each for each in there if each.covers(time_ns)), there[0])
            said = f'removed {gone.word} {_span(gone)}'
            kept = [each for each in own if each is not gone]
            self._save(others, own, kept, name=name, said=said)
        return said

    def undo(self) -> str:
        """Take back the last change since the start; return what was done, in words.

        Raises:
            ValueError: There is none, another program has changed the labels of this predicate
                since, or the file is malformed.
            OSError: The file cannot be written; nothing has changed.
        """
        with self._alone():
            if not self._undo:
                raise ValueError('nothing was labelled since the start; remove a label with x')
            name, before, after, said = self._undo[-1]
            others, own = self._read()
            if _of(own, name) != after:
                self._own = own
                raise ValueError(
                    f'{name}: another program has changed its labels since; remove one with x'
                )
            kept = [each for each in own if each.predicate != name]
            self._write(others, [*kept, *before])
            self._undo.pop()
        return f'undone: {name}: {said}'

    def _read(self) -> tuple[list[Label], list[Label]]:
        """Labels of other bags, and those of this one without overlaps."""
        if not self.path.exists():
            return [], list(self._own)
        check_columns(self.path)
        found = read_label_file(self.path)
        others = [each for each in found if each.bag != self.bag]
        return others, without_overlaps(each for each in found if each.bag == self.bag)

    def _save(
        self,
        others: Sequence[Label],
        before: Sequence[Label],
        after: Sequence[Label],
        *,
        name: str,
        said: str,
    ) -> None:
        self._write(others, after)
        self._undo.append((name, _of(before, name), _of(after, name), said))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other process, changes a file of the folder meanwhile."""
        with self._lock:
            try:
                folder = os.open(self.path.parent, os.O_RDONLY)
            except OSError:  # writing names the reason
                yield
                return
            try:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)

    def _write(self, others: Sequence[Label], own: Sequence[Label]) -> None:
        ordered = sorted(own, key=lambda each: (each.predicate, each.start_ns, each.end_ns))
        try:
            write_label_file(self.path, [*others, *ordered])
        except OSError as error:
            raise OSError(f'{self.path}: not saved: {error.strerror or error}') from error
        self._own = ordered


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f'{path}: is a folder; --labels names a file')
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        why = f'{path}: cannot be written: {error.strerror or error}'
        raise OSError(f'{why}; name another file with --labels') from error


def _of(labels: Sequence[Label], name: str) -> list[Label]:
    found = (each for each in labels if each.predicate == name)
    return sorted(found, key=lambda each: (each.start_ns, each.end_ns))


def _touch(one: Label, other: Label) -> bool:
    return one.start_ns <= other.end_ns and other.start_ns <= one.end_ns


def _span(label: Label) -> str:
    if label.start_ns == label.end_ns:
        return f'at {label.start_s:.1f} s'
    return f'{label.start_s:.1f} to {label.end_s:.1f} s'
