"""Removal of shared memory left behind by killed processes.

Fast DDS creates a segment for every participant, 70 MB with our profile, and holds a lock on a
file next to it while the process lives. A killed process leaves both, so a node that restarts
repeatedly would fill the memory of a robot. `fastdds shm clean` frees segments in the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path('/dev/shm')
LOCK = re.compile(r'(fastrtps|fastdds)_[0-9a-f]{16}_el')
# A segment that is being created has its file before its lock.
MIN_AGE_S = 10.0


def remove_dead_segments(folder: Path = FOLDER, *, min_age_s: float = MIN_AGE_S) -> int:
    """Remove this user's segments that no living process holds; return the bytes freed."""
    freed_bytes = 0
    for lock in _locks(folder):
        with contextlib.suppress(OSError), lock.open() as file:  # another process may remove it
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < min_age_s:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its owner lives
            segment = lock.with_name(lock.name.removesuffix('_el'))
            if segment.exists():
                freed_bytes += segment.stat().st_size
                segment.unlink()
            lock.unlink()
    return freed_bytes


def _locks(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # not Linux
        yield from [path for path in folder.iterdir() if LOCK.fullmatch(path.name)]
