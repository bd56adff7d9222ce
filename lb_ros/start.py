"""The first and the last moment of a node's process. Importing this is quick: it loads nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

from lb_ros.interpreter import check_distribution, why_not_imported

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(name: str, args: list[str] | None = None) -> NoReturn:
    """Run a node as this process; see `lb_ros.nodes.main`, which this imports.

    The imports take seconds. A signal that comes meanwhile finds nothing to close, so it ends the
    process at once, with the status 0 of any other stop and without a traceback.
    """
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda signum, frame: _leave(0))
    check_distribution(name)
    try:
        from lb_ros.nodes import main
    except ImportError as error:
        print(f'{name}: {why_not_imported(error)}', file=sys.stderr)
        _leave(1)
    status = 0
    try:
        main(name, args)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    # Nodes lie in cycles of references; while one is left, so is the shared memory of Fast DDS.
    gc.collect()
    _leave(status)


def _leave(status: int) -> NoReturn:
    # Everything is closed by now. Python would spend another second or two on taking PyTorch
    # apart, and five nodes at once longer than a launch file waits before it kills them.
    with contextlib.suppress(OSError):  # who started this may have gone, and its pipe with it
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == '__main__':
    start(sys.argv[1])
