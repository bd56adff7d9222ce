"""`lb-ros teach`: say when a predicate is true or false, to a running robot, from a terminal."""

from __future__ import annotations

import argparse
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from encoders import Predicate
from lb_ros.client import LanguageClient, NotAnsweredError

NODES_S = 5.0
KEYS = 't true, f false, u undo the last, q quit'


def run(args: argparse.Namespace) -> int:
    """Teach until `q`; return 0, 1 if no node answered, 2 for unusable input."""
    try:
        with LanguageClient(namespace=args.namespace, timeout_s=NODES_S) as client:
            return _run(client, args)
    except NotAnsweredError as error:
        return _refuse(str(error), 1)
    except (OSError, ValueError) as error:
        return _refuse(str(error), 2)


def _run(client: LanguageClient, args: argparse.Namespace) -> int:
    if args.export is not None:
        content = client.export_taught(*filter(None, [args.sentence]))
        Path(args.export).write_bytes(content)
        print(f'{args.export}: {len(content)} bytes')
        return 0
    if args.import_file is not None:
        names = client.import_taught(args.import_file.read_bytes())
        print(f'imported {", ".join(names)}')
        return 0
    if not args.sentence:
        return _refuse('needs a sentence or the name of a predicate, or --data for bags', 2)
    name = _name_of(client, args.sentence)
    print(f'{name}: {KEYS}', flush=True)
    with _single_keys() as read:
        teach(client, name, read, seconds=args.seconds)
    return 0


def teach(
    client: LanguageClient,
    name: str,
    read: Callable[[], str],
    *,
    seconds: float,
) -> None:
    """Turn keys into presses until `q` or the end of the input.

    Args:
        client: Client of the robot.
        name: Name of a predicate.
        read: Returns the next key; empty at the end.
        seconds: Length of the stretch that counts as one press.
    """
    while (key := read()) and key not in ('q', '\x03', '\x04'):
        try:
            if key in ('t', 'f'):
                told = client.teach(name, key == 't', seconds=seconds)
            elif key == 'u':
                told = client.untaught(name)
            else:
                continue
        except NotAnsweredError as error:
            print(f'lb-ros teach: {error}', file=sys.stderr, flush=True)
            continue
        state = client.states().get(name)
        now = '' if state is None else f'{state.state.name} {state.probability:.2f}  '
        print(f'{now}{told}', flush=True)


def _name_of(client: LanguageClient, sentence: str) -> str:
    """The predicate of this name or sentence; a new sentence is added."""
    for predicate in client.predicates():
        if sentence == predicate.name or sentence.strip().rstrip('.!') in predicate.positive:
            return predicate.name
    predicate = Predicate.from_sentence(sentence)
    client.add(predicate)
    return predicate.name


@contextmanager
def _single_keys() -> Iterator[Callable[[], str]]:
    """Read keys of a terminal without Enter; characters of lines from anything else."""
    stream = sys.stdin
    if not stream.isatty():
        yield lambda: stream.read(1)
        return
    before: list[Any] = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield lambda: stream.read(1)
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)


def _refuse(reason: str, status: int) -> int:
    print(f'lb-ros teach: {" ".join(reason.split())}', file=sys.stderr)
    return status
