"""Waiting in tests: until something holds, never for time to pass."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLL_S = 0.01


def pause() -> None:
    """Let other threads and processes go on."""
    time.sleep(POLL_S)


def wait_until(
    holds: Callable[[], Any],
    *,
    limit_s: float = 60.0,
    meanwhile: Callable[[], Any] = pause,
    shows: Callable[[], Any] = lambda: '',
) -> None:
    """Return as soon as something holds.

    Args:
        holds: What to wait for.
        limit_s: Longest wait, seconds; a busy machine may need most of it.
        meanwhile: Called between two checks: sends, spins or sleeps.
        shows: What the error reports of the state in which the wait ended.

    Raises:
        AssertionError: It did not hold within the limit.
    """
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, f'not within {limit_s:.0f} s: {shows()}'
        meanwhile()


def wait_for_handler(process: subprocess.Popen[Any], signum: signal.Signals) -> None:
    """Return as soon as a process handles a signal itself."""
    status = Path(f'/proc/{process.pid}/status')

    def handles() -> int:
        caught = int(status.read_text().split('SigCgt:')[1].split()[0], 16)
        return caught >> (signum - 1) & 1

    wait_until(handles)
