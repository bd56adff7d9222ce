"""Location of shipped files: next to the sources, or in the share folder of an installation."""

from __future__ import annotations

import sys
from pathlib import Path


def shipped(relative: str) -> Path:
    """Path of a shipped file, for example `config/predicates.yaml`.

    Raises:
        FileNotFoundError: It is in none of the possible locations.
    """
    root = Path(__file__).resolve().parent.parent
    # Installed: PREFIX/lib/pythonX.Y/site-packages/lb_ros and PREFIX/share/lb_ros.
    prefixes = [parent / 'share' / 'lb_ros' for parent in root.parents]
    for folder in (root, *prefixes, Path(sys.prefix) / 'share' / 'lb_ros'):
        if (folder / relative).exists():
            return folder / relative
    raise FileNotFoundError(f'{relative} is not where lb_ros was installed ({root})')
