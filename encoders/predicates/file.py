"""Reads predicates from YAML and from plain values; errors name their location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, SequenceNode

from encoders.predicates.predicate import Line, Predicate, PredicateError, negate

# In a file, the language space is part of the calibration.
FIELDS = tuple(f.name for f in fields(Predicate) if f.name not in ('name', 'calibration_space'))
LISTS = ('positive', 'negative', 'templates', 'modalities')


def load_predicates(path: str | Path) -> list[Predicate]:
    """Read predicates from YAML.

    `predicates:` is a mapping of names to fields, to a sentence, or to nothing, which uses the
    name as the sentence; or a list of sentences and of mappings with a `name`.

    Raises:
        PredicateError: The file cannot be read, or entries are invalid. The message has one line
            per error, with file, line and field.
    """
    path = Path(path)
    try:
        root = yaml.compose(path.read_text(), yaml.SafeLoader)
    except OSError as error:
        raise PredicateError(f'{path}: {error.strerror}') from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f'{path}:{mark.line + 1}' if mark else str(path)
        raise PredicateError(f'{where}: {error.problem or error}') from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise PredicateError(f'{path}: {" ".join(str(error).split())}') from error
    found, wrong = _read(root, path)
    if wrong:
        raise PredicateError('\n'.join(wrong))
    return found


def _read(root: Node | None, path: Path) -> tuple[list[Predicate], list[str]]:
    found: list[Predicate] = []
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for name, entry, line in _entries(root, path):
        try:
            value = _plain(entry, name) if entry is not None else None
            if name is None and isinstance(value, dict):
                name = str(value.pop('name', '') or '')
                if not name:
                    raise PredicateError('an entry with keys needs `name:` among them')
            predicate = predicate_from_entry(str(value) if name is None else name, value)
            if predicate.name in seen:
                first = seen[predicate.name]
                raise PredicateError(
                    f'predicate {predicate.name!r}: name: is already that of line {first}',
                    field='name',
                )
        except PredicateError as error:
            wrong.append(f'{path}:{_line_of(entry, error.field, line)}: {error}')
            continue
        seen[predicate.name] = line
        found.append(predicate)
    return found, wrong


def _entries(root: Node | None, path: Path) -> list[tuple[str | None, Node | None, int]]:
    """Name (None in a list), value and line of every entry."""
    listed = None
    if isinstance(root, MappingNode):
        for key, value in root.value:
            if key.value != 'predicates':
                raise PredicateError(
                    f'{path}:{_number(key)}: unknown key {key.value!r}, expected `predicates`'
                )
            listed = value
    if isinstance(listed, MappingNode) and listed.value:
        return [(str(k.value), v, _number(k)) for k, v in listed.value]
    if isinstance(listed, SequenceNode) and listed.value:
        return [(None, entry, _number(entry)) for entry in listed.value]
    line = _number(listed if listed is not None else root) if root is not None else 1
    raise PredicateError(
        f'{path}:{line}: needs a mapping `predicates:` of name to sentences, '
        f'or a list of sentences'
    )


def _plain(node: Node, name: str | None) -> Any:
    """The value of a YAML node; duplicate keys are an error."""
    if isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                what = f'predicate {name!r}: {key.value}: given twice'
                raise PredicateError(what, field=str(key.value))
            seen.add(key.value)
            _plain(value, name)
    loader = yaml.SafeLoader('')
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise PredicateError(' '.join(str(error).split())) from error
    finally:
        loader.dispose()


def _number(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _line_of(entry: Node | None, field: str, default: int) -> int:
    if isinstance(entry, MappingNode):
        for key, _ in entry.value:
            if key.value == field:
                return _number(key)
    return default


def predicate_from_entry(name: str, entry: Mapping[str, Any] | str | None) -> Predicate:
    """Make one predicate from its YAML value; in sentences, underscores of a name become spaces.

    Raises:
        PredicateError: A key is unknown or a value is invalid.
    """
    sentence = ' '.join(name.replace('_', ' ').split())
    if entry is None or isinstance(entry, str):
        return Predicate.from_sentence(sentence if entry in (None, name) else entry, name=name)
    if not isinstance(entry, Mapping):
        raise PredicateError(f'predicate {name!r}: {entry!r} is neither a sentence nor a mapping')
    for key in entry:
        if key not in FIELDS:
            raise PredicateError(
                f'predicate {name!r}: {key}: unknown key {key!r}, '
                f'expected some of {", ".join(sorted(FIELDS))}',
                field=str(key),
            )
    values = {key: _value(name, key, value) for key, value in entry.items()}
    values |= _calibration(name, values.pop('calibration', None))
    positive = values.setdefault('positive', (sentence,))
    values.setdefault('negative', tuple(s for told in positive for s in negate(told)))
    return Predicate(name=name, **values)


def _value(name: str, key: str, value: Any) -> Any:
    if key in LISTS:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple) or not all(isinstance(v, str) for v in listed):
            what = 'names' if key == 'modalities' else 'sentences'
            raise PredicateError(
                f'predicate {name!r}: {key} must be {what}, not {value!r}', field=key
            )
        return tuple(listed)
    if key in ('weights', 'calibration') and not isinstance(value, Mapping):
        raise PredicateError(
            f'predicate {name!r}: {key} must be a mapping of modality, not {value!r}', field=key
        )
    return value


def _calibration(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    lines, space = {}, ''
    for key, value in given.items():
        if key == 'space':
            space = str(value)
        elif isinstance(value, Mapping) and set(value) == {'slope', 'offset'}:
            lines[str(key)] = Line(value['slope'], value['offset'])
        else:
            raise PredicateError(
                f'predicate {name!r}: calibration: {key} needs slope and offset, not {value!r}',
                field='calibration',
            )
    return {'calibration': lines, 'calibration_space': space}
