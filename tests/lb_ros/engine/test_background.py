"""Work beside the sensors takes one core at low priority, and no core from the encoders."""

from __future__ import annotations

import os
import threading

import torch

from encoders.one_core import on_one_core
from lb_ros.engine.background import NICENESS, background_pool


def test_the_pool_alone_is_nice() -> None:
    pool = background_pool('test')
    niceness = pool.submit(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    ).result()
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert niceness == max(NICENESS, here)
    pool.shutdown()


def test_threads_that_start_meanwhile_have_all_cores() -> None:
    torch.set_num_threads(2)
    inside, outside = [], []

    def encoder() -> None:
        outside.append(torch.get_num_threads())

    def change() -> None:
        with on_one_core():
            inside.append(torch.get_num_threads())
            started = threading.Thread(target=encoder)
            started.start()
            started.join()
        inside.append(torch.get_num_threads())

    changing = threading.Thread(target=change)
    changing.start()
    changing.join()
    assert (inside, outside) == ([1, 2], [2])
