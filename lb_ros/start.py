"""Start and end of a node's process. Importing this is fast, since it loads no libraries."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

from lb_ros.interpreter import check_distribution, why_not_imported
from lb_ros.stopping import END_WITH_READER, STOP_SIGNALS, end_with_reader


def start(name: str, args: list[str] | None = None) -> NoReturn:
    """Run a node as this process; see `lb_ros.nodes.process.main`, which this imports.

    The imports take seconds. A signal during them ends the process at once, since nothing has to
    be closed, with status 0 like any other stop and without a traceback.

    Args:
        name: Name of the node.
        args: Arguments; None for the command line. If they contain `END_WITH_READER`, see
            `end_with_reader`.
    """
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda signum, frame: _leave(0))
    given = sys.argv[1:] if args is None else args
    words = [word for word in given if word != END_WITH_READER]
    if words != given:
        end_with_reader()
    _help_or_check(name, words)
    check_distribution(name)
    # NumPy's products are small here. Their threads would wait for each other, and for the
    # encoders, wherever a core is occupied. Read when NumPy is imported.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    try:
        from lb_ros.nodes.process import main
    except ImportError as error:
        print(f'{name}: {why_not_imported(error)}', file=sys.stderr)
        _leave(1)
    status = 0
    try:
        main(name, words)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    # Nodes are in reference cycles; the shared memory of Fast DDS stays until all are collected.
    gc.collect()
    _leave(status)


def _help_or_check(name: str, words: list[str]) -> None:
    """Print help or report an invalid argument and end the process, before the slow imports."""
    from lb_ros.node_help import help_of
    from lb_ros.ros_arguments import read_arguments, refuse_others

    try:
        if {'-h', '--help'} & set(words):
            print(help_of(name))
            _leave(0)
        refuse_others(read_arguments(name, words).others)
    except ValueError as error:
        print(f'{name}: {error}', file=sys.stderr)
        _leave(2)


def _leave(status: int) -> NoReturn:
    # Everything is closed by now. Python would need another one or two seconds to unload PyTorch,
    # and with five nodes at once longer than a launch file waits before it kills them.
    with contextlib.suppress(OSError):  # the parent process may be gone, and its pipe closed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == '__main__':
    start(sys.argv[1], sys.argv[2:])
