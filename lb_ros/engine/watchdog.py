"""Ends a process whose worker is stuck, so that its supervisor can restart it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn, TextIO

EXIT_STUCK = 70
EXIT_DEVICE = 71
LOOK_S = 0.5
# A worker stuck in native code that holds the GIL blocks this thread as well; the timer of
# `faulthandler`, which does not need the GIL, then ends the process this much later.
GRACE_S = 5.0


def leave(status: int, line: str) -> NoReturn:
    """End the process at once, with one line and the stacks of all threads on stderr."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    os._exit(status)


class Watchdog:
    """Ends the process when one task takes longer than a limit.

    Args:
        busy_with: Returns the current task and its start (monotonic seconds), or None.
        limit_s: Longest accepted duration of a task.
        ended: Called with the exit status and a line; ends the process unless tests replace it.
    """

    def __init__(
        self,
        busy_with: Callable[[], tuple[str, float] | None],
        *,
        limit_s: float,
        ended: Callable[[int, str], object] = leave,
    ) -> None:
        if limit_s <= 0:
            raise ValueError(f'limit_s must be positive, not {limit_s}')
        self._busy_with, self._limit_s, self._ended = busy_with, limit_s, ended
        self._stop = threading.Event()
        self._stderr = _own_stderr() if ended is leave else None
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()
        if self._stderr is not None:
            faulthandler.cancel_dump_traceback_later()
            self._stderr.close()

    def _watch(self) -> None:
        while not self._stop.wait(min(LOOK_S, self._limit_s / 4)):
            if self._stderr is not None:
                faulthandler.dump_traceback_later(
                    self._limit_s + GRACE_S, exit=True, file=self._stderr
                )
            busy = self._busy_with()
            if busy is None:
                continue
            what, since_s = busy
            busy_s = time.monotonic() - since_s
            if busy_s > self._limit_s:
                line = f'stuck: {what} for {busy_s:.1f} s, more than {self._limit_s:.1f} s'
                self._ended(EXIT_STUCK, line)
                return


def _own_stderr() -> TextIO:
    """Return a copy of stderr that stays open for the native timer even if `sys.stderr` closes."""
    return os.fdopen(os.dup(2), 'w')
