"""Long work beside the sensors: at low priority, on one core."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

NICENESS = 10


def background_pool(name: str) -> ThreadPoolExecutor:
    """One thread that runs only when no other thread of the machine has more urgent work."""
    return ThreadPoolExecutor(1, name, initializer=_be_nice)


def _be_nice() -> None:
    # On Linux the niceness of a thread, and of those that PyTorch starts from it, is its own.
    thread = threading.get_native_id()
    niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
    os.setpriority(os.PRIO_PROCESS, thread, niceness)


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Compute without the other threads of PyTorch, in the calling thread only.

    Several would wait for each other at every layer, while the encoders' threads have the cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # That also became the number for threads that are yet to start; another thread takes it back.
    restore = threading.Thread(target=torch.set_num_threads, args=(before,))
    restore.start()
    restore.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
