"""The file of what was taught, next to the predicates file.

Vectors are stored as float16. Heads are not stored: a fit takes milliseconds and depends on the
calibration of the model set, which may have changed since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from encoders.atomic import write_atomically
from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.binder import Binder
from encoders.predicates.file import FIELDS, predicate_from_entry
from encoders.predicates.lessons import Lesson, Lessons, Press
from encoders.predicates.predicate import Predicate, PredicateError

SUFFIX = '.taught.safetensors'
FORMAT = 1
KEY = 'taught'
REMEDY = 'teach again, import an exported file, or delete it'

Arrays = dict[str, NDArray[Any]]


def taught_path(predicates: Path) -> Path:
    """The file next to a predicates file: `predicates.yaml` to `predicates.taught.safetensors`."""
    return predicates.with_name(predicates.stem + SUFFIX)


def save_lessons(path: Path, lessons: Lessons) -> None:
    """Write atomically: after a crash there is either the old file or the new one.

    Raises:
        OSError: The file cannot be written; the old one stays.
    """
    write_atomically(path, to_bytes(lessons))


def replace_lessons(path: Path, lessons: Lessons) -> Path | None:
    """Write as `save_lessons`, but keep a file that is damaged or of another model set.

    Returns:
        Where the old file is now; None if it was replaced, or if there was none.

    Raises:
        OSError: The file cannot be written; the old one stays.
    """
    kept = None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        old = _owner(path)
        if old is not None and not old.is_of(lessons):
            kept = path.with_name(f'{path.name}.{(old.weights_sha256 or old.model)[:12]}')
    except ModelSetError:
        kept = path.with_name(f'{path.name}.damaged')
    if kept is not None:
        path.replace(kept)
    save_lessons(path, lessons)
    return kept


def _owner(path: Path) -> Lessons | None:
    """The model set of a file, without its lessons, which take long to read; None without a file.

    Raises:
        ModelSetError: The file is damaged: its header, or its length.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework='np') as file:
            described = json.loads(file.metadata()[KEY])
            _check_format(described)
            return _described(described, {})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelSetError(f'{path}: {error}; {REMEDY}') from error


def own_taught_path() -> Path:
    """The file for the shipped predicates: in the user's data folder, which outlives a cache."""
    data = os.environ.get('XDG_DATA_HOME') or str(Path.home() / '.local' / 'share')
    return Path(data) / 'lb_ros' / f'predicates{SUFFIX}'


def load_lessons(path: Path) -> Lessons | None:
    """Read a file; None if there is none.

    Raises:
        ModelSetError: The file is damaged or of another format.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelSetError(f'{path}: {error.strerror}; {REMEDY}') from error
    return from_bytes(content, where=str(path))


def usable_lessons(path: Path, binder: Binder, *, warn: Callable[[str], object]) -> Lessons | None:
    """What was taught to this model set; None if there is none.

    Args:
        path: A file that may be missing.
        binder: The model set.
        warn: Receives a line if the file is damaged or of another model set. It is not used then:
            predicates are read from their text.
    """
    try:
        lessons = load_lessons(path)
        if lessons is not None:
            lessons.check(binder, where=str(path))
    except (ModelSetError, SpaceError) as error:
        warn(f'{error}; predicates are read from their text')
        return None
    return lessons


def to_bytes(lessons: Lessons) -> bytes:
    """The content of a file."""
    arrays: Arrays = {}
    listed = []
    for place, (name, lesson) in enumerate(lessons.by_name.items()):
        presses = lesson.presses
        listed.append(
            {
                'name': name,
                'predicate': entry_of(lesson.predicate),
                'keys': [press.key for press in presses],
                'sources': [press.source for press in presses],
            }
        )
        arrays[f'{place}/truth'] = np.array([press.truth for press in presses], np.uint8)
        arrays[f'{place}/stamp_ns'] = np.array([press.stamp_ns for press in presses], np.int64)
        arrays[f'{place}/frames'] = np.array([press.frames for press in presses], np.int64)
        for kind, rows in (
            ('vectors', [press.vectors for press in presses]),
            ('states', [press.states for press in presses]),
            ('statistics', [press.statistics for press in presses]),
        ):
            arrays |= _stacked(f'{place}/{kind}', rows, np.float16)
        odds = [press.token_log_odds for press in presses]
        arrays |= _stacked(f'{place}/token_log_odds', odds, np.float32)
    described = {
        'format': FORMAT,
        'space': lessons.space,
        'model': lessons.model,
        'weights_sha256': lessons.weights_sha256,
        'readouts': dict(lessons.readouts),
        'lessons': listed,
    }
    return bytes(save(arrays, metadata={KEY: json.dumps(described)}))


def from_bytes(content: bytes, *, where: str) -> Lessons:
    """Read the content of a file.

    Args:
        content: As of `to_bytes`; may come from anywhere.
        where: Its origin, for messages.

    Raises:
        ModelSetError: It is damaged, or of another format.
    """
    try:
        described = _metadata(content)
        _check_format(described)
        arrays = load(content)
        lessons = {
            str(entry['name']): _lesson(place, entry, arrays)
            for place, entry in enumerate(described['lessons'])
        }
        return _described(described, lessons)
    except KeyError as error:
        raise ModelSetError(f'{where}: it has no {error.args[0]!r}; {REMEDY}') from error
    except (SafetensorError, PredicateError, TypeError, ValueError, AttributeError) as error:
        line = ' '.join(str(error).split())
        raise ModelSetError(f'{where}: no file of what was taught: {line}; {REMEDY}') from error


def entry_of(predicate: Predicate) -> dict[str, Any]:
    """A predicate as its entry of a predicates file."""
    entry: dict[str, Any] = {}
    for each in fields(Predicate):
        if each.name in FIELDS and each.name != 'calibration':
            value = getattr(predicate, each.name)
            entry[each.name] = list(value) if isinstance(value, tuple) else value
    entry['weights'] = dict(predicate.weights)
    if predicate.calibration:
        entry['calibration'] = {'space': predicate.calibration_space} | {
            name: {'slope': line.slope, 'offset': line.offset}
            for name, line in predicate.calibration.items()
        }
    return entry


def _check_format(described: Mapping[str, Any]) -> None:
    if described['format'] != FORMAT:
        raise ValueError(f'format {described["format"]}, expected {FORMAT}')


def _described(described: Mapping[str, Any], lessons: Mapping[str, Lesson]) -> Lessons:
    return Lessons(
        space=str(described['space']),
        model=str(described['model']),
        weights_sha256=str(described['weights_sha256']),
        readouts={str(k): str(v) for k, v in described['readouts'].items()},
        by_name=lessons,
    )


def _metadata(content: bytes) -> dict[str, Any]:
    """The description in the header of a safetensors file."""
    length = int.from_bytes(content[:8], 'little')
    if length > len(content) - 8:
        raise ValueError('its header is incomplete')
    header = json.loads(content[8 : 8 + length])
    found = json.loads(header['__metadata__'][KEY])
    if not isinstance(found, dict):
        raise TypeError('its description is no mapping')
    return found


def _stacked(name: str, rows: list[Mapping[str, Any]], dtype: Any) -> Arrays:
    """Values by modality as one array each, NaN where a press has none."""
    found: Arrays = {}
    for modality in dict.fromkeys(key for row in rows for key in row):
        shape = np.shape(next(row[modality] for row in rows if modality in row))
        table = np.full((len(rows), *shape), np.nan, dtype)
        for index, row in enumerate(rows):
            if modality in row:
                table[index] = row[modality]
        found[f'{name}/{modality}'] = table
    return found


def _lesson(place: int, entry: Mapping[str, Any], arrays: Arrays) -> Lesson:
    keys, sources = [str(k) for k in entry['keys']], [str(s) for s in entry['sources']]
    count = len(keys)
    tables = {
        kind: _tables(f'{place}/{kind}/', arrays, count, ndim)
        for kind, ndim in (
            *(('vectors', 2), ('states', 2)),
            *(('statistics', 2), ('token_log_odds', 1)),
        )
    }
    columns = {name: arrays[f'{place}/{name}'] for name in ('truth', 'stamp_ns', 'frames')}
    if any(column.shape != (count,) for column in columns.values()) or len(sources) != count:
        raise ValueError(f'{entry["name"]}: its arrays have other lengths than {count}')
    if len(set(keys)) != count:
        raise ValueError(f'{entry["name"]}: two presses have the same key')

    def row(kind: str, index: int) -> dict[str, Any]:
        found = {name: table[index] for name, table in tables[kind].items()}
        return {name: value for name, value in found.items() if np.isfinite(value).all()}

    presses = tuple(
        Press(
            truth=bool(columns['truth'][index]),
            stamp_ns=int(columns['stamp_ns'][index]),
            frames=int(columns['frames'][index]),
            vectors=row('vectors', index),
            states=row('states', index),
            statistics=row('statistics', index),
            token_log_odds={k: float(v) for k, v in row('token_log_odds', index).items()},
            source=sources[index],
            key=keys[index],
        )
        for index in range(count)
    )
    return Lesson(predicate_from_entry(str(entry['name']), entry['predicate']), presses)


def _tables(prefix: str, arrays: Arrays, count: int, ndim: int) -> Arrays:
    found = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    for name, table in found.items():
        if table.ndim != ndim or len(table) != count or table.dtype.kind != 'f':
            raise ValueError(f'{prefix}{name} is {table.dtype} {list(table.shape)}')
    return found
