"""Parameter files and values, checked and typed before ROS reads them.

ROS infers the type of a value from its text: `5` is an integer even if the parameter is a float,
and a model named `123E5` is a number. This module gives each text the type of its parameter.
Importing it is fast and does not require ROS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from lb_ros.parameter_table import MICROPHONE_RECORDS, RECORDS

VALUES = 'ros__parameters'
EXPECTED = 'expected sections such as "/**: {ros__parameters: {model: lb-mini}}"'
# Texts that rcl parses as a truth value, in upper or lower case.
TRUTHS = ('y', 'yes', 'on', 'true', 'n', 'no', 'off', 'false')


@dataclass(frozen=True, slots=True)
class Section:
    """Parameters of some nodes.

    Attributes:
        pattern: Full name of the nodes; `*` matches one part of a name and `**` several.
        values: Name and value of each parameter as in the file.
    """

    pattern: str
    values: tuple[tuple[str, Node], ...]

    def matches(self, node: str) -> bool:
        """Return whether the section applies to a node of this full name."""
        parts = [
            '(/[^/]+)*' if part == '**' else '/[^/]+' if part == '*' else f'/{re.escape(part)}'
            for part in self.pattern.strip('/').split('/')
        ]
        return re.fullmatch(''.join(parts), node) is not None


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """Text and sections of a valid ROS parameter file."""

    text: str
    sections: tuple[Section, ...]

    def typed(self, nodes: tuple[str, ...]) -> str:
        """Return the text with each value for these nodes (full names) in its parameter's type."""
        edits = [
            (value.start_mark.index, value.end_mark.index, typed_node(name, value, self.text))
            for section in self.sections
            if any(map(section.matches, nodes))
            for name, value in section.values
        ]
        text = self.text
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return text


def read_parameter_file(path: Path) -> ParameterFile:
    """Read and check a parameter file.

    Raises:
        ValueError: The file does not exist or contains no ROS parameters; the message names the
            file, the line and the remedy.
    """
    if not path.exists():
        raise ValueError(
            f'there is no file {str(path)!r}; correct the path, or leave the argument out for the '
            f'shipped config/parameters.yaml'
        )
    try:
        text = path.read_text()
        root = yaml.compose(text, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no text'
        raise ValueError(f'{path} cannot be read: {reason}') from error
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is not valid YAML: {" ".join(str(error).split())}') from error
    if root is None:
        raise ValueError(f'{path} is empty; {EXPECTED}')
    sections = tuple(_sections(path, '', root))
    if not sections:
        raise ValueError(f'{path} has no {VALUES}; {EXPECTED}')
    return ParameterFile(text, sections)


def listed(path: Path, name: str) -> tuple[str, ...]:
    """Return the names that a parameter of all nodes lists in a file; empty if it is not set.

    Raises:
        ValueError: The file cannot be read.
    """
    for section in read_parameter_file(path).sections:
        found = dict(section.values).get(name)
        if section.pattern == '/**' and found is not None:
            nodes = found.value if isinstance(found, SequenceNode) else [found]
            return tuple(part.strip() for node in nodes for part in str(node.value).split(','))
    return ()


def typed_value(name: str, text: str) -> str:
    """Return the text of `-p NAME:=TEXT`, rewritten in the parameter's type.

    Invalid YAML and values of unknown parameters are returned unchanged.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    return text if node is None else typed_node(name, node, text)


def typed_node(name: str, node: Node, text: str) -> str:
    """Return the part of `text` that is `node`, rewritten in the type of the parameter `name`."""
    kind = parameter_types().get(name)
    written = text[node.start_mark.index : node.end_mark.index]
    if isinstance(node, ScalarNode):
        if kind is float and re.fullmatch(r'[-+]?[0-9]+', written):
            return f'{written}.0'
        if kind is str:
            return _string(node, written)
        if kind is tuple:
            names = [part.strip() for part in node.value.split(',')]
            return f'[{", ".join(_quoted(part) for part in names if part)}]'
    if kind is tuple and isinstance(node, SequenceNode) and node.flow_style:
        return f'[{", ".join(_quoted(str(each.value)) for each in node.value)}]'
    return written


@cache
def parameter_types() -> dict[str, type]:
    """Return the type of every parameter by name: bool, int, float, str, or tuple (of str)."""
    return {name: type(r.default) for name, r in (MICROPHONE_RECORDS | RECORDS).items()}


def _sections(path: Path, pattern: str, node: Node) -> Iterator[Section]:
    line = node.start_mark.line + 1
    if not isinstance(node, MappingNode):
        what = f'{pattern.strip("/")!r} is outside {VALUES}' if pattern else f'has no {VALUES}'
        raise ValueError(f'{path}, line {line}: {what}; {EXPECTED}')
    for key, value in node.value:
        if key.value != VALUES:
            yield from _sections(path, f'{pattern}/{str(key.value).strip("/")}', value)
            continue
        if not isinstance(value, MappingNode):
            raise ValueError(f'{path}, line {value.start_mark.line + 1}: {VALUES} is no mapping')
        yield Section(pattern, tuple((str(each.value), found) for each, found in value.value))


def _string(node: ScalarNode, written: str) -> str:
    return _quoted(node.value) if node.style is None and _is_other(node.value) else written


def _is_other(text: str) -> bool:
    """Return whether ROS would parse a plain text as another type than a string."""
    if text.lower() in TRUTHS:
        return True
    for read in (float, lambda text: int(text, 0)):
        try:
            read(text.replace('.nan', 'nan').replace('.inf', 'inf').replace('_', 'x'))
        except ValueError:
            continue
        return True
    return False


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
