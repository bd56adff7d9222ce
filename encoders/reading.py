"""Files as people have them: JSON with a byte order mark, git-lfs pointers, caches of the hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from encoders.errors import ModelSetError

POINTER = b'version https://git-lfs'
ESCAPES = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')


def refuse_pointer(path: Path) -> None:
    """Refuse the line of text that git leaves in place of a large file.

    Raises:
        ModelSetError: The file is such a pointer.
        OSError: It cannot be read.
    """
    with path.open('rb') as stream:
        if stream.read(len(POINTER)) == POINTER:
            raise ModelSetError(
                f'{path}: is a git-lfs pointer, not the file itself; '
                f'run `git lfs pull` in its repository, or download the file'
            )


def read_json(path: Path) -> Any:
    """The values of a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        ModelSetError: It is a git-lfs pointer.
        OSError, ValueError: It cannot be read, or is no JSON.
    """
    refuse_pointer(path)
    return json.loads(path.read_text(encoding='utf-8-sig'))


def snapshot_of(folder: Path) -> Path:
    """The folder with the files, of a folder in the hub's cache; any other folder itself.

    In the cache, `models--OWNER--NAME` holds `snapshots/COMMIT` and names the newest in `refs`.

    Raises:
        ModelSetError: There are several snapshots, and `refs/main` names none of them.
    """
    snapshots = folder / 'snapshots'
    if not snapshots.is_dir():
        return folder
    main = folder / 'refs' / 'main'
    if main.is_file() and (named := snapshots / main.read_text().strip()).is_dir():
        return named
    found = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    listed = ', '.join(path.name for path in found) or 'there is none'
    raise ModelSetError(f'{folder}: name one of its snapshots: {listed}')


def why_unreadable(error: Exception) -> str:
    """One line about a file of PyTorch that cannot be read, without its advice to run its code."""
    text = ESCAPES.sub('', str(error))
    if 'weights_only' in text or 'Weights only' in text:
        found = re.search(r'GLOBAL ([\w.]+)', text)
        what = f'a Python object ({found[1]})' if found else 'more than tensors, or is damaged'
        return f'holds {what}; save its tensors alone: torch.save(model.state_dict(), ...)'
    line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f'cannot be read: {line}'
