"""Long background work at low priority."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

NICENESS = 10


def background_pool(name: str) -> ThreadPoolExecutor:
    """Return a pool of one thread that yields to all threads of normal priority."""
    return ThreadPoolExecutor(1, name, initializer=_be_nice)


def _be_nice() -> None:
    # On Linux, niceness applies per thread and is inherited by the threads that PyTorch starts.
    thread = threading.get_native_id()
    niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
    os.setpriority(os.PRIO_PROCESS, thread, niceness)
