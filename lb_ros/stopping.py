"""How processes end: by signals, and when the terminal or pipe they print to closes."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import threading

# `nohup` has a process ignore that its terminal closes; everything else stops it.
_HANGUP = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *_HANGUP)
END_WITH_READER = '--end-with-reader'
STDOUT = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


class ReaderGone(BaseException):
    """Whoever read the output of this process has gone; no OSError, which programs handle."""


def raise_on_sigterm() -> None:
    """SIGTERM raises Terminated, so that what is open is closed; the second one ends at once."""

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
    """Printing to a pipe that is closed raises ReaderGone."""
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
    """Every signal that stops this process raises KeyboardInterrupt, the first one only."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, _interrupt)


def end_with_reader() -> None:
    """Stop this process, as SIGTERM does, when the terminal or pipe it prints to closes.

    A process that prints nothing would not notice; one whose parent was killed would live on.
    """

    def watch() -> None:
        if _wait_for_reader(None):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name='end with reader', daemon=True).start()


def drop_output() -> None:
    """Print nothing more: what is buffered for a reader that has gone fails at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def _wait_for_reader(timeout_ms: int | None) -> bool:
    poll = select.poll()
    poll.register(STDOUT, 0)  # no event but that it has been closed, which a file never is
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(timeout_ms))


def _interrupt(signum: int, frame: object) -> None:
    # Once is enough: a terminal and a launch file both pass Ctrl-C on, and the second one must
    # not break off the closing.
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
