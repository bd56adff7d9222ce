"""Files of labels: stretches of bags in which a predicate is true, false, or unclear."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from encoders.atomic import write_atomically
from encoders.modalities import MODALITIES
from train.bags.reader import read_bag

COLUMNS = ('bag', 'predicate', 'start_s', 'end_s', 'truth')
TRUE, FALSE, UNCLEAR = ('true', '1', 'yes'), ('false', '0', 'no'), ('unclear',)
MAX_S = 1e9
NONE: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Label:
    """A stretch of a bag in which a predicate has one truth.

    Attributes:
        bag: Name of the bag, see `name_of`.
        predicate: Name of a predicate, or a sentence.
        truth: Its truth; None where it is unclear.
        start_ns, end_ns: Time since `sensor_start_ns`; equal for a moment.
        line: Line of the file, from 1; 0 if it comes from no file.
    """

    bag: str
    predicate: str
    truth: bool | None
    start_ns: int
    end_ns: int
    line: int = field(default=0, compare=False)

    @property
    def word(self) -> str:
        """The truth as in a file."""
        return word_of(self.truth)

    @property
    def start_s(self) -> float:
        """Start in seconds."""
        return self.start_ns * 1e-9

    @property
    def end_s(self) -> float:
        """End in seconds."""
        return self.end_ns * 1e-9

    def covers(self, time_ns: int) -> bool:
        """Whether a time is in the stretch; its end is not, but a moment covers itself."""
        return self.start_ns <= time_ns < self.end_ns or self.start_ns == time_ns == self.end_ns

    def meets(self, other: Label) -> bool:
        """Whether two stretches of one predicate have more than an end in common."""
        if (self.bag, self.predicate) != (other.bag, other.predicate):
            return False
        if self.start_ns == self.end_ns or other.start_ns == other.end_ns:
            return self.covers(other.start_ns) or other.covers(self.start_ns)
        return self.start_ns < other.end_ns and other.start_ns < self.end_ns


def word_of(truth: bool | None) -> str:
    """`true`, `false` or `unclear`."""
    return 'unclear' if truth is None else str(truth).lower()


def truth_of(word: str) -> bool | None:
    """The truth that a word of a file means.

    Raises:
        ValueError: It is no such word.
    """
    lower = word.strip().lower()
    if lower not in (*TRUE, *FALSE, *UNCLEAR):
        raise ValueError(f'truth must be true, false or unclear, not {word!r}')
    return None if lower in UNCLEAR else lower in TRUE


def name_of(bag: Path) -> str:
    """The name of a bag in a file of labels: its folder, or its file without the ending."""
    return bag.stem if bag.is_file() else _named(bag).name


def labels_path(bag: Path) -> Path:
    """The usual file of the labels of a bag, next to it."""
    return _named(bag).with_name(f'{name_of(bag)}.labels.csv')


def _named(bag: Path) -> Path:
    """The bag under its own name, also where it is given as `.` or `..`."""
    return bag.resolve() if bag.name in ('', '..') else bag


def sensor_start_ns(bag: Path, topics: Mapping[str, Sequence[str]] = NONE) -> int | None:
    """Stamp of the first message of a sensor in recorded order, from which labels count.

    Args:
        bag: Bag folder or file.
        topics: Modality to topics, in addition to those of the usual names.

    Returns:
        Nanoseconds; None if the bag holds no message of these topics.

    Raises:
        FileNotFoundError: There is no such bag.
        BagError: No message of it can be read.
    """
    usual = [modality.topics for modality in MODALITIES.values()]
    known = [topic for names in (*usual, *topics.values()) for topic in names]
    first = next(read_bag(bag, optional=known), None)
    return None if first is None else first.stamp_ns


def read_label_file(path: Path) -> list[Label]:
    """The rows of a file, in order.

    Raises:
        ValueError: The file is malformed; the message names file, line and what is expected.
        OSError: The file cannot be read.
    """
    try:
        content = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b'\n') + 1
        raise ValueError(f'{path}:{line}: is not UTF-8; save it as CSV in UTF-8') from error
    rows = csv.DictReader(io.StringIO(content, newline=''), strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f'no column {", ".join(missing)}; needs {",".join(COLUMNS)}')
        return [_label({**row}, rows.line_num) for row in rows]
    except csv.Error as error:
        line = rows.line_num + 1
        raise ValueError(f'{path}:{line}: {error}; is a quote missing in this row?') from error
    except ValueError as error:
        raise ValueError(f'{path}:{max(1, rows.line_num)}: {error}') from error


def check_columns(path: Path) -> None:
    """Refuse a file with other columns, which rewriting it would lose.

    Raises:
        ValueError: There are such columns; the message names them and the remedy.
        OSError: The file cannot be read.
    """
    with path.open(newline='', encoding='utf-8-sig') as file:
        names = next(csv.reader(file), [])
    others = [name for name in names if name not in COLUMNS]
    if others:
        raise ValueError(
            f'{path}:1: column {", ".join(others)} would be lost; remove it, or name another '
            f'file with --labels'
        )


def write_label_file(path: Path, labels: Sequence[Label]) -> None:
    """Write a file as a whole; the old one stays if that fails.

    Raises:
        OSError: It cannot be written.
    """
    text = io.StringIO(newline='')
    rows = csv.writer(text, lineterminator='\n')
    rows.writerow(COLUMNS)
    for each in labels:
        times = (_seconds(each.start_ns), _seconds(each.end_ns))
        rows.writerow([each.bag, each.predicate, *times, each.word])
    write_atomically(path, text.getvalue().encode())


def without_overlaps(labels: Iterable[Label]) -> list[Label]:
    """Labels of which, where two of different truth overlap, the later one holds.

    The earlier one is shortened, split or left out. Stretches of the same truth stay as they are.
    The result is in the order of bags and predicates.
    """
    found: dict[tuple[str, str], list[Label]] = {}
    for new in labels:
        key = (new.bag, new.predicate)
        kept = [part for old in found.get(key, ()) for part in _remaining(old, new)]
        found[key] = [*kept, new]
    return [each for group in found.values() for each in group]


def cut(old: Label, new: Label) -> list[Label]:
    """What is left of a stretch outside of a newer one."""
    parts = [replace(old, end_ns=new.start_ns)] if old.start_ns < new.start_ns else []
    return parts + ([replace(old, start_ns=new.end_ns)] if new.end_ns < old.end_ns else [])


def _remaining(old: Label, new: Label) -> list[Label]:
    return cut(old, new) if old.meets(new) and old.truth is not new.truth else [old]


def _seconds(time_ns: int) -> str:
    whole, rest = divmod(time_ns, 1_000_000_000)
    return f'{whole}.{rest:09d}'.rstrip('0').rstrip('.')


def _label(row: Mapping[str | None, Any], line: int) -> Label:
    if None in row:
        raise ValueError(f'more than {len(COLUMNS)} cells: put quotes around a text with commas')
    start_ns, end_ns = _time_ns(row, 'start_s'), _time_ns(row, 'end_s')
    if end_ns < start_ns:
        raise ValueError(f'end_s ({row["end_s"]}) is before start_s ({row["start_s"]})')
    truth = truth_of(_text(row, 'truth'))
    return Label(_text(row, 'bag'), _text(row, 'predicate'), truth, start_ns, end_ns, line)


def _time_ns(row: Mapping[str | None, Any], name: str) -> int:
    try:
        seconds = float(_text(row, name))
    except ValueError as error:
        raise ValueError(f'{name} must be a number, not {row[name]!r}') from error
    if not math.isfinite(seconds) or not 0 <= seconds <= MAX_S:
        raise ValueError(f'{name} must be 0 or more seconds, not {row[name]!r}')
    return round(seconds * 1e9)


def _text(row: Mapping[str | None, Any], name: str) -> str:
    text = str(row[name] or '').strip()
    if not text:
        raise ValueError(f'{name} is empty')
    return text
