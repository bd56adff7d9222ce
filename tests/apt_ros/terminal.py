"""A terminal of the stand-in, which keeps variables and the current folder between commands."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COMMAND_S = 300.0
STOP_S = 60.0
_KILLED = -int(signal.SIGKILL)
_KEEP = 'status=$?; {{ pwd; env -0; }} > {}; exit $status'


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    Attributes:
        command: As it was typed.
        status: Its exit status.
        output: Standard output and standard error.
    """

    command: str
    status: int
    output: str

    @property
    def report(self) -> str:
        """What to show where it should have ended otherwise."""
        return f'$ {self.command}\n[exit status {self.status}]\n{self.output[-6000:]}'


class Terminal:
    """Bash with its state kept between commands.

    Args:
        folder: The current folder, and where the state is kept; must exist.
        environment: The variables it starts with.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.folder = folder

    def another(self, folder: Path, **extra: str) -> Terminal:
        """One with the same variables, and further ones, in another folder."""
        return Terminal(folder, {**self.environment, **extra})

    def run(self, command: str, timeout_s: float = COMMAND_S) -> Done:
        """Run a command to its end, and keep what it exports and where it goes.

        Raises:
            TimeoutError: It runs for longer than that; the message ends with its output.
        """
        with tempfile.TemporaryDirectory() as folder:
            # Files, since what the command leaves in the background would keep a pipe open.
            log, state = Path(folder) / 'log', Path(folder) / 'state'
            status = self._run(f'{command}\n{_KEEP.format(quoted(state))}', log, timeout_s)
            done = Done(command, status, log.read_text(errors='replace'))
            if status == _KILLED:
                raise TimeoutError(f'after {timeout_s:.0f} s: {done.report}')
            if state.exists():
                self._restore(state.read_text(errors='replace'))
        return done

    def _run(self, script: str, log: Path, timeout_s: float) -> int:
        with log.open('wb') as output:
            process = self._start(script, output)
        try:
            return process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=STOP_S)
            return _KILLED

    def _restore(self, state: str) -> None:
        folder, _, variables = state.partition('\n')
        self.folder = Path(folder)
        pairs = (pair.partition('=') for pair in variables.split('\0') if pair)
        self.environment = {name: value for name, _, value in pairs}

    def _start(self, script: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ['bash', '-c', script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @contextmanager
    def running(self, command: str, log: Path) -> Iterator[Running]:
        """Start a command in the foreground, with its output in a file; killed at the end."""
        with log.open('wb') as output:
            process = self._start(f'exec {command}', output)
        running = Running(command, process, log)
        try:
            yield running
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=STOP_S)


@dataclass(frozen=True, slots=True)
class Running:
    """A command in the foreground of a terminal of its own."""

    command: str
    process: subprocess.Popen[bytes]
    log: Path

    def done(self, status: int = -1) -> Done:
        """Its output so far, with that exit status."""
        return Done(self.command, status, self.log.read_text(errors='replace'))

    def interrupt(self) -> Done:
        """Ctrl-C: SIGINT to all its processes, as a terminal sends it; waits for the end.

        Raises:
            TimeoutError: It does not end.
        """
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.done(self.process.wait(timeout=STOP_S))
        except subprocess.TimeoutExpired:
            raise TimeoutError(f'does not end by Ctrl-C: {self.done().report}') from None


def quoted(path: Path) -> str:
    """A path as a word of a command."""
    return shlex.quote(str(path))
