"""Detection of file contents by the first bytes, because file names can be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MCAP, SQLITE = 'mcap', 'sqlite3'
ZSTD = b'\x28\xb5\x2f\xfd'
LZ4 = b'\x04\x22\x4d\x18'
STORAGES = {b'\x89MCAP0\r\n': MCAP, b'SQLite format 3\0': SQLITE}
COMPRESSIONS = {ZSTD: 'zstd', LZ4: 'lz4', b'\x1f\x8b': 'gzip'}
# First bytes -> kind of file, and the remedy.
OTHERS: dict[bytes, tuple[str, str]] = {
    b'#ROSBAG': (
        'a ROS 1 bag',
        'convert it: pip install rosbags, then rosbags-convert --src IN.bag --dst OUT',
    ),
    b'version https://git-lfs': (
        'a git-LFS pointer, not the recording itself',
        'run `git lfs pull` where it was cloned',
    ),
    b'PK\x03\x04': ('a ZIP archive', 'unpack it first'),
    b'7z\xbc\xaf\x27\x1c': ('a 7z archive', 'unpack it first'),
    b'\xfd7zXZ\0': ('compressed by xz', 'run unxz on it first'),
    b'BZh': ('compressed by bzip2', 'run bunzip2 on it first'),
    b'\x89HDF\r\n': ('an HDF5 file', 'a bag is .mcap or .db3'),
    b'<!DOCTYPE': ('a web page', 'download it again: the server sent a page instead'),
    b'<!doctype': ('a web page', 'download it again: the server sent a page instead'),
    b'<html': ('a web page', 'download it again: the server sent a page instead'),
}
HEAD = 64
PEEK = 1 << 12


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a file.

    Attributes:
        storage: `mcap`, `sqlite3`, or empty if the file is neither or is compressed.
        compression: `zstd`, `lz4`, `gzip`, or empty.
        fault: Why the file cannot be read, with the remedy; empty if no fault was found.
    """

    storage: str = ''
    compression: str = ''
    fault: str = ''


def contents_of(file: Path) -> Contents:
    """Detect the contents of a file from its first bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open('rb') as stream:
        head = stream.read(PEEK)
    if not head:
        return Contents(fault='empty (0 bytes): nothing was recorded, or its copy failed')
    for magic, storage in STORAGES.items():
        if head.startswith(magic):
            return Contents(storage)
    for magic, compression in COMPRESSIONS.items():
        if head.startswith(magic):
            return Contents(compression=compression)
    start = head.lstrip()[:HEAD]
    for magic, (what, remedy) in OTHERS.items():
        if start.startswith(magic):
            return Contents(fault=f'{what}; {remedy}')
    if not head.strip(b'\0'):
        return Contents(fault='nothing but zero bytes: its writing was cut off; restore a copy')
    if any(magic.startswith(head) for magic in STORAGES):
        return Contents(fault=f'truncated after {len(head)} bytes: nothing was recorded')
    if head[257:262] == b'ustar':
        return Contents(fault='a TAR archive; unpack it first')
    return Contents(fault='unknown storage format, neither MCAP nor sqlite3 (.mcap, .db3)')
