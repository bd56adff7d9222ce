"""Runs PyTorch on one core where several would only wait for each other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Run PyTorch in the calling thread only.

    Several threads would wait for each other at every layer while the encoders occupy the cores.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    # This also sets the default for threads started later; another thread restores that default.
    restore = threading.Thread(target=torch.set_num_threads, args=(before,))
    restore.start()
    restore.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
