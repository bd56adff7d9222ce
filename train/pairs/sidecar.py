"""Sentences with time ranges from a file next to a bag: CSV, YAML or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import yaml

KINDS = ('sidecar', 'note')
KEYS = {'start', 'end', 'text', 'bag', 'kind'}
# Range of epoch times in seconds, years 2001 to 2100; for other units it is scaled by the unit.
# Smaller values are seconds since the start of the bag.
FIRST_EPOCH_S, LAST_EPOCH_S = 1e8, 4.2e9
UNITS = (1.0, 1e3, 1e6, 1e9)
# Spreadsheet dates, days since 1899-12-30, of the years 2000 to 2100.
FIRST_SERIAL, LAST_SERIAL = 36_526.0, 73_415.0
SERIAL_OF_EPOCH, DAY_S = 25_569.0, 86_400.0
CLOCK_TIME = re.compile(r'(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)')


class SidecarError(ValueError):
    """A sidecar file is unusable; the message names the file, the row and the error."""


@dataclass(frozen=True, slots=True)
class SidecarRow:
    """One sentence with its time range.

    Attributes:
        start_s, end_s: Time range: seconds since the start of the bag, or since the epoch.
        text: The sentence.
        bag: Name of the bag to which it applies; empty for every bag.
        kind: `sidecar`, or `note` for text by an operator.
        where: File and row number, for reports.
    """

    start_s: float
    end_s: float
    text: str
    bag: str = ''
    kind: str = 'sidecar'
    where: str = ''

    def range_ns(self, bag_start_ns: int, bag_end_ns: int | None = None) -> tuple[int, int]:
        """Return (start, end) on the clock of a bag.

        Args:
            bag_start_ns: Start of the bag.
            bag_end_ns: End of the bag. Times that are outside the bag as seconds, but inside as
                spreadsheet dates (UTC), are treated as dates.
        """
        plain = self._range_ns(bag_start_ns)
        if bag_end_ns is None or not FIRST_SERIAL <= self.start_s <= self.end_s <= LAST_SERIAL:
            return plain
        dates = replace(
            self,
            start_s=(self.start_s - SERIAL_OF_EPOCH) * DAY_S,
            end_s=(self.end_s - SERIAL_OF_EPOCH) * DAY_S,
        )._range_ns(bag_start_ns)

        def inside(span: tuple[int, int]) -> bool:
            return span[0] <= bag_end_ns and span[1] >= bag_start_ns

        return dates if inside(dates) and not inside(plain) else plain

    def _range_ns(self, bag_start_ns: int) -> tuple[int, int]:
        start, end = (
            round(seconds * 1e9) + (bag_start_ns if seconds < FIRST_EPOCH_S else 0)
            for seconds in (self.start_s, self.end_s)
        )
        return start, end


def read_sidecar(path: Path) -> list[SidecarRow]:
    """Read the rows of a file: columns (or keys) `start`, `end`, `text`, optionally `bag`, `kind`.

    Times are seconds since the start of the bag, `[h:]m:s`, or since the epoch: in seconds,
    milliseconds, microseconds or nanoseconds, or as an ISO date (UTC if it has no time zone).
    YAML and JSON contain a list of such mappings, or a mapping of bag name to such a list; a
    single mapping is accepted in place of a list of one.

    Raises:
        SidecarError: The file cannot be read, or a row is unusable.
    """
    try:
        content = path.read_text(encoding='utf-8-sig')
        rows = list(_rows(path.suffix.lower(), content))
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError, ValueError) as error:
        raise SidecarError(f'{path}: {" ".join(str(error).split())}') from error
    if not rows:
        raise SidecarError(f'{path}: holds no rows')
    return [_row(values, f'{path}: row {number}') for number, values in enumerate(rows, start=1)]


def _rows(suffix: str, content: str) -> Iterable[Any]:
    if suffix == '.csv':
        return _csv_rows(content)
    if suffix not in ('.yaml', '.yml', '.json', '.jsonl'):
        raise ValueError(f'unknown kind {suffix!r}, expected .csv, .yaml or .json')
    if suffix == '.jsonl':
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    loaded = json.loads(content) if suffix == '.json' else yaml.safe_load(content)
    if isinstance(loaded, Mapping) and {'start', 'text'} & set(loaded):
        return [loaded]
    if isinstance(loaded, Mapping):
        return [
            {'bag': name, **row} if isinstance(row, Mapping) else row
            for name, rows in loaded.items()
            for row in (rows if isinstance(rows, list) else [rows])
        ]
    if not isinstance(loaded, list):
        raise ValueError('expected a list of rows, or a mapping of bag to rows')
    return loaded


def _csv_rows(content: str) -> Iterable[dict[str, Any]]:
    """Rows of a table with a header; columns may be separated as in spreadsheets (; or tab)."""
    head = content.split('\n', 1)[0]
    comma = next((sign for sign in (';', '\t') if sign in head and ',' not in head), ',')
    rows = csv.reader(io.StringIO(content), strict=True, delimiter=comma)
    keys = [key.strip().lower() for key in next(rows, [])]
    if not {'start', 'end', 'text'} & set(keys):
        raise ValueError(f'the first line must name the columns start, end and text, not {head!r}')
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(keys) and keys[-1] == 'text':  # unquoted commas in the sentence
            cells = [*cells[: len(keys) - 1], comma.join(cells[len(keys) - 1 :])]
        elif len(cells) > len(keys):
            raise ValueError(
                f'line {rows.line_num}: {len(cells)} cells for the {len(keys)} columns '
                f'{", ".join(keys)}: put quotes around a text with commas'
            )
        if comma != ',':
            cells = [
                cell.replace(',', '.') if key in ('start', 'end') else cell
                for key, cell in zip(keys, cells, strict=False)
            ]
        yield dict(zip(keys, cells, strict=False))


def seconds_of(value: Any) -> float:
    """Parse a time as seconds since the start of a bag, or since the epoch.

    Raises:
        ValueError: It is not a time, or is ambiguous.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError(f'{value!r} is no time')
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
        return _utc_s(moment)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _written_s(str(value).strip())
    if math.isnan(number) or number < FIRST_EPOCH_S:
        return number
    for unit in UNITS:
        if FIRST_EPOCH_S <= number / unit <= LAST_EPOCH_S:
            return number / unit
    raise ValueError(f'{value} is a time in no known unit')


def _written_s(text: str) -> float:
    found = CLOCK_TIME.fullmatch(text)
    if found:
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds
    try:
        return _utc_s(datetime.fromisoformat(text.replace('Z', '+00:00')))
    except ValueError:
        raise ValueError(f'{text!r} is no time') from None


def _utc_s(moment: datetime) -> float:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return zoned.timestamp()


def _row(values: Any, where: str) -> SidecarRow:
    if not isinstance(values, Mapping):
        raise SidecarError(f'{where}: {values!r} is no row of start, end and text')
    for key in values:
        if key not in KEYS:
            raise SidecarError(f'{where}: unknown key {key!r}, expected {", ".join(sorted(KEYS))}')
    try:
        start, end = seconds_of(values['start']), seconds_of(values['end'])
        text = values['text']
    except KeyError as error:
        raise SidecarError(f'{where}: no {error.args[0]!r}') from error
    except (TypeError, ValueError) as error:
        raise SidecarError(f'{where}: start and end must be seconds or dates ({error})') from error
    kind = str(values.get('kind') or 'sidecar')
    if text is not None and not isinstance(text, str):
        raise SidecarError(f'{where}: the text {text!r} is no sentence; put quotes around words')
    text = (text or '').strip()
    if not text:
        raise SidecarError(f'{where}: the text is empty')
    if not start <= end < float('inf'):
        raise SidecarError(f'{where}: ends at {end} s before it starts at {start} s')
    if kind not in KINDS:
        raise SidecarError(f'{where}: unknown kind {kind!r}, expected {" or ".join(KINDS)}')
    return SidecarRow(start, end, text, str(values.get('bag') or ''), kind, where)
