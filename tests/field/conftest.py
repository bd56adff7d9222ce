"""Shared by the tests of what people bring: the shortest predicates file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def two_predicates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predicates file with two predicates of two sentences each."""
    path = tmp_path_factory.mktemp('predicates') / 'two.yaml'
    path.write_text(
        'predicates:\n'
        '  drawer: {positive: [the drawer is open], negative: [the drawer is closed]}\n'
        '  stove: {positive: [the stove is hot], negative: [the stove is cold]}\n'
    )
    return path
