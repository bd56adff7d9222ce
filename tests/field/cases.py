"""Commands on what people bring: run in this process, and judged by one standard.

Every kind of input is a `Case`. A refused one ends with a status of its own and a last line that
names file, cause and remedy; nothing is written. A usable one ends with status 0, and what could
not be used is reported in one line. Neither ever shows a traceback.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lb_ros.cli import main


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of input.

    Attributes:
        name: Of the test.
        make: Writes the input into an empty folder and returns its path.
        expects: Regular expressions that the error stream must contain, each in one line.
        usable: Whether enough of it can be read for a command to succeed.
    """

    name: str
    make: Callable[[Path], Path]
    expects: tuple[str, ...] = ()
    usable: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def reports(self) -> list[str]:
        """Lines of the error stream without those of progress bars."""
        lines = re.split(r'[\r\n]+', re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', self.err))
        return [line for line in lines if line.strip() and not re.search('[━╸╺]', line)]


def run(*words: str | Path) -> Ran:
    """Run `lb-ros` with some words in this process."""
    said = tuple(str(word) for word in words)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(said)
        except SystemExit as end:  # argparse
            status = end.code if isinstance(end.code, int) else 1
    return Ran(said, status, out.getvalue(), err.getvalue())


def check_reported(ran: Ran, expects: Sequence[str]) -> None:
    """Assert that each pattern matches exactly one line of what was reported."""
    assert 'Traceback' not in ran.err, ran.err
    for pattern in expects:
        matching = [line for line in ran.reports if re.search(pattern, line)]
        assert len(matching) == 1, f'{pattern!r} matches {matching} of:\n{ran.err}'


def check_refused(ran: Ran, *expects: str, written: Path | None = None) -> None:
    """Assert that a command refused its input in one line of its own and wrote nothing.

    Args:
        ran: How it ended.
        expects: Regular expressions, see `check_reported`.
        written: What it would have written.
    """
    assert ran.status in (1, 2), (ran.status, ran.err)
    check_reported(ran, expects)
    command = [line for line in ran.reports if line.startswith(('lb-ros', 'usage: lb-ros'))]
    assert command, ran.err
    if written is not None:
        left = [p for p in written.rglob('*') if p.is_file()] if written.is_dir() else []
        assert not left and not written.is_file(), left


def check_usable(ran: Ran, *expects: str) -> None:
    """Assert that a command did its work and reported what it could not use."""
    assert ran.status == 0, (ran.status, ran.err)
    check_reported(ran, expects)
