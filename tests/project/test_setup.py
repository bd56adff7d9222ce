"""What the set-up says on a machine that lacks something, before it makes anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
PROGRAMS = {
    'python3': f'exec "{sys.executable}" "$@"',
    'old': 'echo Python 3.9.2; [ "$1" = --version ]',
    'broken': 'echo cannot load libpython >&2; exit 3',
    'c++': 'exit 0',
}


@pytest.mark.parametrize(
    ('python', 'present', 'says'),
    [
        ('python3', ('python3',), 'no C++ compiler found'),
        ('python3', ('python3', 'c++'), 'no make found'),
        ('old', ('old',), 'Python 3.9.2 is too old'),
        ('broken', ('broken',), 'broken does not run: cannot load libpython'),
        ('snake', (), 'no snake found'),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, python: str, present: tuple[str, ...], says: str
) -> None:
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name in ('bash', 'dirname'):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    for name in present:
        (programs / name).write_text(f'#!/bin/bash\n{PROGRAMS[name]}\n')
        (programs / name).chmod(0o755)
    (tmp_path / 'scripts').mkdir()
    shutil.copy(ROOT / 'scripts' / 'setup.sh', tmp_path / 'scripts')
    done = subprocess.run(
        ['bash', tmp_path / 'scripts' / 'setup.sh'],
        env={'PATH': str(programs), 'PYTHON': python},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('setup: ')
    assert says in done.stderr
    assert not (tmp_path / '.venv').exists()
