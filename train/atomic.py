"""Files that are either whole or absent: written beside, flushed to disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` only once it is complete and on disk.

    Whatever fails, also the disk being full, leaves what was at `path` and no partial file.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file (see `atomic_file`)."""
    with atomic_file(path) as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    # The name itself must survive a power cut; Windows cannot open folders and does not need it.
    if not hasattr(os, 'O_DIRECTORY'):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
