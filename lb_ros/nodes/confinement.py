"""Restriction of model sets that a service call may load, so that callers cannot pass any path."""

from __future__ import annotations

import os
from pathlib import Path

from encoders.errors import ModelSetError
from encoders.model_sets.openclip import PREFIX
from encoders.model_sets.places import SHIPPED, store


def check_confined(model: str, *, configured: str, root: str) -> None:
    """Refuse a model set outside the permitted places before reading anything.

    Permitted are the configured one; a name of a shipped, pulled or hub set; a folder below the
    shipped or pulled ones, next to the configured one, or below `root`. `..` is always refused;
    links in these folders are followed, since their creator may write there anyway.

    Args:
        model: Requested model set.
        configured: Value of the parameter `model`.
        root: Value of the parameter `model_root`; empty for none.

    Raises:
        ModelSetError: The model set is refused; the message names the parameter that permits it.
    """
    if model == configured:
        return
    name = model
    if model.startswith(PREFIX):  # the architecture is followed by a tag or a weights file
        _, _, name = model.removeprefix(PREFIX).partition('/')
        if not Path(name).exists():
            return
    path = Path(name)
    known = [SHIPPED, store()]
    folders = list(known)
    if os.sep in configured:
        folders.append(Path(configured).absolute().parent)
    if root:
        folders.append(Path(root).absolute())
    is_name = (name and os.sep not in name) and (
        not path.exists() or any((folder / name).exists() for folder in known)
    )
    if '..' not in path.parts and (is_name or _is_below(path.absolute(), folders)):
        return
    raise ModelSetError(
        f'{model!r} is outside of the folders that services may load from; '
        f'the parameter model_root names another one'
    )


def _is_below(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
