"""Long background work: at low priority, on one core."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

NICENESS = 10


def background_pool(name: str) -> ThreadPoolExecutor:
    """Return a pool of one thread that yields to all threads of normal priority."""
    return ThreadPoolExecutor(1, name, initializer=_be_nice)


def _be_nice() -> None:
    # On Linux, niceness applies per thread and is inherited by the threads that PyTorch starts.
    thread = threading.get_native_id()
    niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
    os.setpriority(os.PRIO_PROCESS, thread, niceness)


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Run PyTorch in the calling thread only.

    Several threads would wait for each other at every layer while the encoders occupy the cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # This also sets the default for threads started later; another thread restores that default.
    restore = threading.Thread(target=torch.set_num_threads, args=(before,))
    restore.start()
    restore.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
