"""Which model sets a service call may load: no caller may point a node at any path it likes."""

from __future__ import annotations

import os
from pathlib import Path

from encoders.errors import ModelSetError
from encoders.model_sets.openclip import PREFIX
from encoders.model_sets.places import SHIPPED, store


def check_confined(model: str, *, configured: str, root: str) -> None:
    """Refuse a model set that is none of these, before anything is read.

    The configured one; a name of a shipped, pulled or hub set; a folder below the shipped or the
    pulled ones, beside the configured one, or below `root`. `..` is refused everywhere; links
    inside of these folders are followed, since whoever made them may also write there.

    Args:
        model: What was asked for.
        configured: Value of the parameter `model`.
        root: Value of the parameter `model_root`; empty for none.

    Raises:
        ModelSetError: It is refused; the text names the parameter that would allow it.
    """
    if model == configured:
        return
    name = model
    if model.startswith(PREFIX):  # behind the architecture comes a tag, or a file of weights
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
