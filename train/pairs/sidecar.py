"""Sentences with time ranges from a file beside a bag: CSV, YAML or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Numbers below this are seconds since the start of the bag, others since the epoch.
FIRST_EPOCH_S = 1e8
KINDS = ('sidecar', 'note')
KEYS = {'start', 'end', 'text', 'bag', 'kind'}


class SidecarError(ValueError):
    """A sidecar file is not usable; the text names the file, the row and what is wrong."""


@dataclass(frozen=True, slots=True)
class SidecarRow:
    """One sentence.

    Attributes:
        start_s, end_s: When it holds: seconds since the start of the bag, or since the epoch.
        text: The sentence.
        bag: Name of the bag it is about; empty for every bag.
        kind: `sidecar`, or `note` for what an operator wrote.
    """

    start_s: float
    end_s: float
    text: str
    bag: str = ''
    kind: str = 'sidecar'

    def range_ns(self, bag_start_ns: int) -> tuple[int, int]:
        """(start, end) on the clock of a bag that begins at `bag_start_ns`."""
        start, end = (
            round(seconds * 1e9) + (bag_start_ns if seconds < FIRST_EPOCH_S else 0)
            for seconds in (self.start_s, self.end_s)
        )
        return start, end


def read_sidecar(path: Path) -> list[SidecarRow]:
    """Rows of a file: columns (or keys) `start`, `end`, `text`, and optionally `bag` and `kind`.

    YAML and JSON hold a list of such mappings, or a mapping of bag name to such a list.

    Raises:
        SidecarError: The file cannot be read, or a row is unusable.
    """
    try:
        content = path.read_text(encoding='utf-8-sig')
        rows = list(_rows(path.suffix.lower(), content))
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError, ValueError) as error:
        raise SidecarError(f'{path}: {" ".join(str(error).split())}') from error
    return [_row(values, f'{path}: row {number}') for number, values in enumerate(rows, start=1)]


def _rows(suffix: str, content: str) -> Iterable[Any]:
    if suffix == '.csv':
        return csv.DictReader(io.StringIO(content), strict=True)
    if suffix not in ('.yaml', '.yml', '.json'):
        raise ValueError(f'unknown kind {suffix!r}, expected .csv, .yaml or .json')
    loaded = json.loads(content) if suffix == '.json' else yaml.safe_load(content)
    if isinstance(loaded, Mapping):
        return [
            {'bag': name, **row} if isinstance(row, Mapping) else row
            for name, rows in loaded.items()
            for row in rows
        ]
    if not isinstance(loaded, list):
        raise ValueError('expected a list of rows, or a mapping of bag to rows')
    return loaded


def _row(values: Any, where: str) -> SidecarRow:
    if not isinstance(values, Mapping):
        raise SidecarError(f'{where}: {values!r} is no row of start, end and text')
    for key in values:
        if key not in KEYS:
            raise SidecarError(f'{where}: unknown key {key!r}, expected {", ".join(sorted(KEYS))}')
    try:
        start, end = float(values['start']), float(values['end'])
        text = str(values['text'] or '').strip()
    except KeyError as error:
        raise SidecarError(f'{where}: no {error.args[0]!r}') from error
    except (TypeError, ValueError) as error:
        raise SidecarError(f'{where}: start and end must be seconds ({error})') from error
    kind = str(values.get('kind') or 'sidecar')
    if not text:
        raise SidecarError(f'{where}: the text is empty')
    if not start <= end < float('inf'):
        raise SidecarError(f'{where}: ends at {end} s before it starts at {start} s')
    if kind not in KINDS:
        raise SidecarError(f'{where}: unknown kind {kind!r}, expected {" or ".join(KINDS)}')
    return SidecarRow(start, end, text, str(values.get('bag') or ''), kind)
