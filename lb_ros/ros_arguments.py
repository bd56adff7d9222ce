"""Arguments of a node's process, checked before ROS and its libraries are loaded.

ROS ignores parameters of nodes that do not exist and words outside `--ros-args`, and its messages
about other errors name a lexeme. This module reports each error in one line with the remedy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from lb_ros.launching import ENCODERS, NODES, SEVERITIES
from lb_ros.node_help import offered
from lb_ros.parameter_file import (
    ParameterFile,
    parameter_types,
    read_parameter_file,
    typed_value,
)

BEGIN, END = '--ros-args', '--'
# Long and short names of arguments with a value, and names of those without one.
SHORT = {'-r': '--remap', '-p': '--param', '-e': '--enclave'}
VALUED = (
    '--remap',
    '--param',
    '--params-file',
    '--enclave',
    '--log-level',
    '--log-config-file',
    '--log-file-name',
)
PLAIN = tuple(
    f'--{switch}-{what}'
    for switch in ('enable', 'disable')
    for what in ('rosout-logs', 'stdout-logs', 'external-lib-logs')
)
RENAMES = ('__node', '__name', '__ns')


@dataclass
class RosArguments:
    """Arguments of a process.

    Attributes:
        executable: Name of the executable in this package.
        others: Words outside `--ros-args`.
        pairs: ROS arguments in order: long name, and value (empty if it takes none).
        namespace: Namespace of the nodes.
        names: Names of the nodes, without the namespace.
    """

    executable: str
    names: tuple[str, ...]
    others: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    namespace: str = '/'

    def values(self, name: str) -> list[str]:
        """Return the values of an argument, given its long name."""
        return [value for each, value in self.pairs if each == name]

    @property
    def full_names(self) -> tuple[str, ...]:
        """Full names of the nodes."""
        return tuple(f'{self.namespace.rstrip("/")}/{name}' for name in self.names)


def node_names(executable: str) -> tuple[str, ...]:
    """Return the names of the nodes that a process may run."""
    return ('bringup', *ENCODERS, 'predicates') if executable == 'bringup' else (executable,)


def read_arguments(executable: str, words: Sequence[str]) -> RosArguments:
    """Read and check the arguments of a node's process.

    Args:
        executable: Name of the node.
        words: The command line without the name of the program.

    Raises:
        ValueError: An argument is unknown or its value is invalid; the message has the remedy.
    """
    found = RosArguments(executable, node_names(executable))
    left = iter(words)
    inside = False
    for word in left:
        if word == BEGIN:
            inside = True
        elif not inside:
            found.others.append(word)
        elif word == END:
            inside = False
        else:
            found.pairs.append(_pair(word, left))
    for rule in found.values('--remap'):
        _remap(found, rule)
    for rule in found.values('--param'):
        _check_parameter(found, rule)
    for level in found.values('--log-level'):
        _check_level(level)
    for path in found.values('--params-file'):
        _file(path)
    return found


def refuse_others(words: Sequence[str]) -> None:
    """Refuse words outside `--ros-args`; a node accepts none.

    Raises:
        ValueError: There is such a word; the message gives the correct form.
    """
    for word in words:
        name, assigned, _ = word.partition(':=')
        if assigned and name not in parameter_types():
            continue  # a remapping in the deprecated form; ROS warns about it
        if assigned:
            raise ValueError(f'unknown argument {word!r}; write --ros-args -p {word}')
        meant = get_close_matches(word, (BEGIN, '--help'), n=1)
        advice = f'is {meant[0]} meant?' if meant else 'see --help'
        raise ValueError(f'unknown argument {word!r}; {advice}')


def doubts(arguments: RosArguments) -> list[str]:
    """Return warnings about probable errors that ROS accepts: names that no node or topic has."""
    known = offered(arguments.executable)
    found = []
    for rule in arguments.values('--remap'):
        source = rule.partition(':=')[0].rpartition(':')[2].strip('/')
        if source not in known and not source.startswith('__'):
            meant = get_close_matches(source, known, n=1, cutoff=0.8)
            found += [f'-r {rule}: nothing here is named {source}; is {m} meant?' for m in meant]
    for path in arguments.values('--params-file'):
        sections = _file(path).sections
        unread = [s for s in sections if not any(map(s.matches, arguments.full_names))]
        for section in unread:
            last = section.pattern.rpartition('/')[2]
            if last in arguments.names and len(unread) == len(sections):
                node = arguments.full_names[arguments.names.index(last)]
                found.append(
                    f'{path}: section {section.pattern} is not read by {node}; is /**/{last} '
                    f'meant?'
                )
            elif last not in (*NODES, *arguments.names):
                meant = get_close_matches(last, (*NODES, *arguments.names), n=1, cutoff=0.75)
                found += [f'{path}: no node is named {last}; is {each} meant?' for each in meant]
    return found


@contextmanager
def typed_arguments(arguments: RosArguments) -> Iterator[list[str]]:
    """Yield the arguments for ROS, with each value in the type of its parameter.

    Files are passed unchanged, or as temporary copies if a value had to be rewritten.
    """
    words = [BEGIN]
    with ExitStack() as stack:
        for name, value in arguments.pairs:
            if name == '--param':
                target, _, text = value.partition(':=')
                value = f'{target}:={typed_value(target.rpartition(":")[2], text)}'
            elif name == '--params-file':
                value = stack.enter_context(_typed_file(value, arguments.full_names))
            words += [name, value] if name in VALUED else [name]
        yield [*arguments.others, *words, END]


@contextmanager
def _typed_file(path: str, nodes: tuple[str, ...]) -> Iterator[str]:
    file = _file(path)
    text = file.typed(nodes)
    if text == file.text:
        yield path
        return
    with tempfile.NamedTemporaryFile('w', prefix='lb_ros_', suffix='.yaml') as copy:
        copy.write(text)
        copy.flush()
        yield copy.name


def _pair(word: str, left: Iterator[str]) -> tuple[str, str]:
    name = SHORT.get(word, word)
    if name in PLAIN:
        return name, ''
    if name not in VALUED:
        plain, equals, rest = word.partition('=')
        if equals and SHORT.get(plain, plain) in VALUED:
            raise ValueError(f'unknown ROS argument {word!r}; write {plain} {rest}')
        known = (*VALUED, *PLAIN)
        meant = get_close_matches(word.replace('_', '-'), known, n=1)
        advice = f'is {meant[0]} meant?' if meant else f'expected some of {", ".join(known)}'
        if ':=' in word:
            advice = f'write -p {word} for a parameter, -r {word} for a topic'
        raise ValueError(f'unknown ROS argument {word!r}; {advice}')
    value = next(left, None)
    if value is None or value in (BEGIN, END):
        raise ValueError(f'{word} needs a value')
    return name, value


def _remap(found: RosArguments, rule: str) -> None:
    source, assigned, target = rule.partition(':=')
    if not (source and assigned and target):
        raise ValueError(f'-r {rule}: expected FROM:=TO, for example -r depth/image:=/zed/depth')
    node, _, name = source.rpartition(':') if '://' not in source else ('', '', source)
    if name.startswith('__') and name not in RENAMES:
        raise ValueError(f'-r {rule}: unknown name {name}, expected one of {", ".join(RENAMES)}')
    if name == '__ns' and not node:
        found.namespace = f'/{target.strip("/")}'
    elif name in RENAMES:
        found.names = tuple(target if n == node else n for n in found.names) if node else (target,)


def _check_parameter(found: RosArguments, rule: str) -> None:
    target, assigned, value = rule.partition(':=')
    if not (target and assigned):
        text = rule.replace('=', ':=', 1) if '=' in rule else 'max_rate_hz:=5.0'
        raise ValueError(f'-p {rule}: expected NAME:=VALUE, for example -p {text}')
    node, _, name = target.rpartition(':')
    if not value.strip():
        raise ValueError(f'-p {rule}: has no value; write {target}:="\'\'" for an empty text')
    if node and f'/{node}' not in found.full_names:
        meant = get_close_matches(node, found.names, n=1)
        advice = f'is {meant[0]}:{name} meant?' if meant else ''
        if node.rpartition('/')[2] in found.names:  # ROS finds such a name only at the root
            advice = f'write -p {name}:={value} for all nodes, or a file with --params-file'
        nodes = ', '.join(found.full_names)
        raise ValueError(
            f'-p {rule}: this process runs no node /{node.strip("/")}, only {nodes}'
            + (f'; {advice}' if advice else '')
        )


def _check_level(text: str) -> None:
    level = text.rpartition(':=')[2]
    if level.lower() not in (*SEVERITIES, 'unset'):
        raise ValueError(f'--log-level {text}: expected one of {", ".join(SEVERITIES)}')


def _file(path: str) -> ParameterFile:
    try:
        return read_parameter_file(Path(path))
    except ValueError as error:
        raise ValueError(f'argument --params-file: {error}') from error
