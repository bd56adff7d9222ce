"""Atomic writes: a temporary file in the same folder is flushed to disk, then renamed."""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` only once it is complete and on disk.

    If anything fails, including a full disk, the old content of `path` stays and no partial file
    remains. The next writer removes the partial files of writers that were killed.
    """
    _remove_abandoned(path)
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        with _created(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            # Renamed while still locked, so that no other writer removes it as abandoned.
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a complete file (see `atomic_file`)."""
    with atomic_file(path) as file:
        file.write(content)


def _created(path: Path) -> BinaryIO:
    """Create a file and lock it until it is closed; the kernel unlocks it if the process dies."""
    while True:
        file = path.open('wb')
        with suppress(OSError):  # a file system without locks, so no other writer can lock it
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another writer removed it before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove the partial files of terminated writers of `path`, which are not locked."""
    for left in path.parent.glob(f'.{glob.escape(path.name)}.*.tmp'):
        with suppress(OSError), left.open('r+b') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut; Windows cannot open folders and does not need it.
    if not hasattr(os, 'O_DIRECTORY'):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
