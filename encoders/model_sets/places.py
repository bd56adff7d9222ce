"""Where model sets are: shipped, pulled, or in a folder. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

from encoders.errors import ModelSetError
from encoders.reading import snapshot_of

MANIFEST, WEIGHTS = 'manifest.json', 'weights.safetensors'
SHIPPED = Path(__file__).resolve().parents[1] / 'models'


def store() -> Path:
    """Where pulled and converted sets lie: `$LB_ROS_MODELS`, or a folder of the user's cache."""
    return Path(os.environ.get('LB_ROS_MODELS') or cache_folder() / 'models')


def cache_folder() -> Path:
    """The folder of this package in the user's cache."""
    cache = os.environ.get('XDG_CACHE_HOME') or str(Path.home() / '.cache')
    return Path(cache) / 'lb_ros'


def find_set(name_or_path: str | Path) -> Path:
    """The folder of a set, by the name of a pulled or shipped one or by path.

    Raises:
        ModelSetError: There is none; the message lists the shipped ones, and how to get one that
            can be pulled.
    """
    name = str(name_or_path)
    for folder in (store() / name, SHIPPED / name, snapshot_of(Path(name))):
        if name and (folder / MANIFEST).is_file():
            return folder
    shipped = ', '.join(sorted(p.parent.name for p in SHIPPED.glob(f'*/{MANIFEST}')))
    pulled = f'; get it with: lb-ros models pull {name}' if name.startswith('languagebind') else ''
    raise ModelSetError(
        f'no model set {name!r}: neither a folder with {MANIFEST} '
        f'nor one of the shipped sets ({shipped or "none"}){pulled}'
    )


def refuse_other_set(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a set already, unless it is to be replaced.

    Raises:
        ModelSetError: There is one.
    """
    if (out / MANIFEST).exists() and not overwrite:
        raise ModelSetError(
            f'{out}: already holds a set; give --overwrite to replace it, or another --out'
        )


def is_kept(folder: Path) -> bool:
    """Whether a set was shipped or pulled, so that no command may change it unasked."""
    where = folder.resolve()
    return any(where.is_relative_to(root.resolve()) for root in (SHIPPED, store()))
