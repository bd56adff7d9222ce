"""Prints the packages of requirements/gpu.txt that this Python lacks, one pinned name a line."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIST = Path(__file__).resolve().parents[1] / 'requirements' / 'gpu.txt'


def missing() -> list[str]:
    """Return the lines of the list whose packages are not installed, in any version."""
    lines = [line.partition('#')[0].strip() for line in LIST.read_text().splitlines()]
    return [line for line in lines if line and not _is_installed(re.split('[=<>; ]', line)[0])]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        # OpenCV has several distributions of the same module.
        return name == 'opencv-python-headless' and _is_installed('opencv-python')
    return True


if __name__ == '__main__':
    sys.stdout.writelines(f'{line}\n' for line in missing())
