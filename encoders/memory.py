"""Returns memory to the system that the process has freed, or that a file holds as well."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

MAPS = Path('/proc/self/maps')


def trim_heap() -> None:
    """Return freed memory of all threads to the system; glibc keeps most of it otherwise.

    Takes about 10 ms. Does nothing with another C library.
    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def unload_mapped(path: Path) -> None:
    """Unload the pages of a file that this process maps, until they are read again.

    Values stay the same: the system maps a page again when it is read, from its cache or from the
    file. Does nothing if the file is not mapped.

    Args:
        path: A file whose mapped values were never changed in memory; changes would be lost.
    """
    advice = getattr(mmap, 'MADV_DONTNEED', None)
    if advice is None or not MAPS.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    name = str(path.resolve())
    for line in MAPS.read_text().splitlines():
        address, _, _, _, _, *mapped = line.split(maxsplit=5)
        if mapped == [name]:
            start, end = (int(part, 16) for part in address.split('-'))
            madvise(start, end - start, advice)
