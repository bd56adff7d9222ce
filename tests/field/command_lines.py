"""Command lines as people mistype them: seeded, from the options that the parsers declare."""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lb_ros.cli.commands import SUBCOMMANDS, _function, main
from tests.field.cases import Ran
from train.arguments import Parser

# Words that fit nowhere, or only nearly: numbers out of range, names with a slip, odd paths.
ODD = (
    '-1', '0', '1e400', 'nan', '-inf', '007', '1_000', '٣', '', ' ', 'depht', 'depth,smell',
    'a=b', 'depth=', 'depth=/a,/b', '=', ':=', 'cuda:99', 'tpu', '/proc', '..', '~', '~nobody/x',
    'nowhere.yaml', '/dev/null', '/proc/self/mem', 'a\x00b', '\udcff', '💡', 'x' * 5000, '--', '-',
    '--help=3', '-o', '--no-such', '[red]', '{}', '%s', '%(prog)s', "it's", 'a\nb', 'http://[::1',
    'robot 1', '@5s', 'bag@-1s', 'random:x', '123E5', 'yes', 'models--a--b', 'depth audio',
)  # fmt: skip


def run(words: Sequence[str]) -> Ran:
    """Run `lb-ros` with some words in this process; `main` must return a status, not exit."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return Ran(tuple(words), status, out.getvalue(), err.getvalue())


def parsers() -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The words of every command and subcommand, with its parser."""
    for name, subcommand in SUBCOMMANDS.items():
        parser = Parser(prog=f'lb-ros {name}')
        _function(subcommand.declare)(parser)
        yield (name,), parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from (((name, word), one) for word, one in action.choices.items())


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All that a parser takes, without help and subcommands."""
    kinds = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, kinds)]


def mistyped(seed: int, folder: Path) -> list[str]:
    """A command line with odd values.

    Nothing in it is usable as a whole: every positional argument is missing, odd, or a file of
    `folder` that is not of its kind, so no command gets to work.
    """
    rng = random.Random(seed)
    words, parser = rng.choice(list(parsers()))
    files = sorted(str(path) for path in folder.iterdir())
    line = list(words)
    for action in rng.sample(options(parser), k=min(len(options(parser)), rng.randint(0, 4))):
        values = [rng.choice([*ODD, *files]) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        flag = rng.choice(action.option_strings) if action.option_strings else ''
        if flag and rng.random() < 0.1:
            flag = flag[: rng.randint(3, len(flag))] if len(flag) > 3 else flag
        line += ([flag] if flag else []) + values
    return line


def is_one_line(ran: Ran) -> bool:
    """Whether what was refused is said in one line that names the command, without a traceback."""
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', ran.err)
    lines = [line for line in text.splitlines() if line.strip()]
    return 'Traceback' not in text and bool(lines) and lines[-1].startswith('lb-ros')
