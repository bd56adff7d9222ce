"""The numbers of the reference implementation (tests/data/oracle/README.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

ORACLE = Path(__file__).resolve().parents[1] / 'data' / 'oracle'
Arrays = dict[str, np.ndarray]


@cache
def _arrays(name: str) -> Arrays:
    with np.load(ORACLE / name) as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture(scope='session')
def oracle_folder() -> Path:
    return ORACLE


@pytest.fixture(scope='session')
def oracle() -> Callable[[str], Arrays]:
    """Arrays of a file, for example `depth/io.npz`."""
    return _arrays


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def enlarged() -> Callable[[np.ndarray], torch.Tensor]:
    """The network's input from a stored small one: every pixel seven times seven."""

    def enlarge(small: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(small.astype(np.float32).repeat(7, -1).repeat(7, -2))

    return enlarge
