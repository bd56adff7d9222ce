"""Records validated by pydantic: all errors are reported together, each with its location."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from yaml import MappingNode, Node, SequenceNode

from encoders.modalities import MODALITIES, SERIES

# Validators are built when a record is made: `--help` only reads the fields.
STRICT = ConfigDict(extra='forbid', arbitrary_types_allowed=True, defer_build=True)
T = TypeVar('T')
Location = tuple[int | str, ...]


class InvalidRecordError(ValueError):
    """Values do not form a valid record; the message has one line per error."""


def _known_modality(name: str) -> str:
    if name not in MODALITIES:
        raise ValueError(f'unknown modality {name!r}, expected some of {", ".join(MODALITIES)}')
    return name


def _read_out(name: str) -> str:
    if _known_modality(name) in SERIES:
        raise ValueError(f'{name!r} is a series, which has no readout')
    return name


def _with_slot(sentence: str) -> str:
    if sentence.count('{}') != 1:
        raise ValueError(f'must have one {{}} each, not {sentence!r}')
    return sentence


Template = Annotated[str, AfterValidator(_with_slot)]
ModalityName = Annotated[str, AfterValidator(_known_modality)]
# Modalities that `lb-ros train readout` trains: all but series.
ReadOutName = Annotated[str, AfterValidator(_read_out)]
Share = Annotated[float, Field(ge=0, lt=1)]


def read_record(path: Path, kind: type[T], changes: Mapping[str, Any] | None = None) -> T:
    """Read a record from a YAML file.

    Args:
        path: The file.
        kind: A pydantic dataclass, or another type that pydantic validates.
        changes: Values that replace those of the file, by key.

    Raises:
        OSError: The file cannot be read.
        InvalidRecordError: The file is not YAML, or keys or values are invalid; one line for
            each, with file, line and key.
    """
    try:
        loader = yaml.SafeLoader(path.read_text())
        root = loader.get_single_node()
        values = None if root is None else loader.construct_document(root)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRecordError(f'{path}: {" ".join(str(error).split())}') from error
    if isinstance(values, dict) and changes:
        values = {**values, **changes}
    return record(kind, values, place=lambda where: f'{path}:{_line(root, where)}: ')


def record(
    kind: type[T],
    values: Any,
    *,
    place: Callable[[Location], str] = lambda _: '',
    named: Callable[[Location], str] = lambda where: '.'.join(map(_step, where)),
) -> T:
    """Validate plain values as a record.

    Args:
        kind: See `read_record`.
        values: Fields of the record.
        place: Returns where the field at a location was written, as a prefix of its error.
        named: Returns the name of the field at a location as users know it.

    Raises:
        InvalidRecordError: Keys or values are invalid.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines = [
            place(one['loc']) + _message(one, kind, named(_without_marks(one['loc']))).strip()
            for one in error.errors()
        ]
        raise InvalidRecordError('\n'.join(dict.fromkeys(lines))) from error


def _step(step: int | str) -> str:
    return step if isinstance(step, str) else f'item {step + 1}'


def plain(value: Any) -> dict[str, Any]:
    """Convert a record to JSON-compatible values."""
    found: dict[str, Any] = TypeAdapter(type(value)).dump_python(value, mode='json')
    return found


def _message(error: ErrorDetails, kind: Any, name: str) -> str:
    where, found = error['loc'], error['type']
    if found in ('missing', 'missing_argument'):
        return f'missing key {name!r}'
    if found in ('unexpected_keyword_argument', 'extra_forbidden'):
        meant = get_close_matches(str(where[-1]), _fields(kind, where[:-1]), n=1)
        return f'unknown key {name!r}' + (f', did you mean {meant[0]!r}?' if meant else '')
    if found == 'dataclass_type':
        return f'{name} must be a mapping of keys, not {error["input"]!r}'
    if found == 'string_type' and where[-1] == '[key]':
        return f'{name} must be names (quote `on`: YAML reads it as true)'
    context = error.get('ctx', {})
    if found == 'value_error':
        text = str(context['error'])
        return f'{name} {text}' if text.startswith('must ') or not name else f'{name}: {text}'
    if found == 'literal_error':
        text = str(context['expected']).replace(' or ', ', ').replace("'", '')
        return f'{name} must be one of {text}, not {error["input"]!r}'
    text = re.sub(r'^\w+ should', 'must', error['msg']).split(' after validation')[0]
    return f'{name} {text}, not {error["input"]!r}'


def _without_marks(where: Location) -> Location:
    return where[:-2] if where[-1:] == ('[key]',) else where


def _fields(kind: Any, where: Location) -> list[str]:
    """Names of the fields of the record at a location; empty if it is not a record."""
    for step in where:
        kind = get_type_hints(kind).get(str(step)) if is_dataclass(kind) else None
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _line(node: Node | None, where: Location) -> int:
    """The line of the key or item at a location, or of its parent if it is missing."""
    line = int(node.start_mark.line) + 1 if node is not None else 1
    for step in where:
        if isinstance(node, MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
        elif isinstance(node, SequenceNode) and isinstance(step, int):
            found = [(value, value) for value in node.value[step : step + 1]]
        else:
            break
        if not found:
            break
        line, node = int(found[0][0].start_mark.line) + 1, found[0][1]
    return line
