"""End of processes: by signals, and when the terminal or pipe they print to closes."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import threading

# Under `nohup` a process ignores the closing of its terminal; otherwise that stops it.
_HANGUP = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *_HANGUP)
END_WITH_READER = '--end-with-reader'
STDOUT = 1


class Terminated(KeyboardInterrupt):
    """Raised when SIGTERM arrives."""


class ReaderGone(BaseException):
    """The reader of this process's output is gone; not an OSError, which programs handle."""


def raise_on_sigterm() -> None:
    """Make SIGTERM raise Terminated, so that resources are closed; a second one ends at once."""

    def stop(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)


class _Output(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise ReaderGone from None

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise ReaderGone from None


def watch_output() -> None:
    """Make printing to a closed pipe raise ReaderGone."""
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper):
        return
    encoding, errors = before.encoding, before.errors
    buffered, through = before.line_buffering, before.write_through
    output = _Output(
        before.detach(), encoding, errors, line_buffering=buffered, write_through=through
    )
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]


def interrupt_on_stop() -> None:
    """Make the first stop signal raise KeyboardInterrupt; later ones are ignored."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, _interrupt)


def end_with_reader() -> None:
    """Stop this process, as SIGTERM does, when the terminal or pipe it prints to closes.

    Otherwise a process that prints nothing would keep running after its parent was killed.
    """

    def watch() -> None:
        if _wait_for_reader(None):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name='end with reader', daemon=True).start()


def drop_output() -> None:
    """Discard all further output: flushing to a reader that is gone would fail at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def _wait_for_reader(timeout_ms: int | None) -> bool:
    poll = select.poll()
    poll.register(STDOUT, 0)  # only the event that it was closed, which never occurs for a file
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(timeout_ms))


def _interrupt(signum: int, frame: object) -> None:
    # A terminal and a launch file both forward Ctrl-C; the second signal must not interrupt the
    # closing.
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
