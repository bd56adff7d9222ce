"""Whole files, and what becomes of the partial ones of writers that were killed or still work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encoders.atomic import atomic_file, write_atomically

WRITER = """
import sys
from pathlib import Path
from encoders.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write(b'of the other')
    file.flush()
    print('at work', flush=True)
    sys.stdin.read()
"""
Start = Callable[[Path], 'subprocess.Popen[str]']


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that is in the middle of writing a file until its stdin is closed."""
    started: list[subprocess.Popen[str]] = []

    def one(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, '-c', WRITER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == 'at work\n'
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_files_of_a_killed_writer_are_removed_by_the_next(tmp_path: Path, start: Start) -> None:
    path = tmp_path / 'weights[1].pt'  # no pattern may be made of it
    write_atomically(path, b'before')
    killed = start(path)
    killed.kill()
    killed.wait()
    assert len(names(tmp_path)) == 2
    assert path.read_bytes() == b'before'
    write_atomically(path, b'after')
    assert names(tmp_path) == [path.name]
    assert path.read_bytes() == b'after'


def test_files_of_a_running_writer_are_left_alone(tmp_path: Path, start: Start) -> None:
    path = tmp_path / 'checkpoint.pt'
    other = start(path)
    write_atomically(path, b'of this one')
    assert path.read_bytes() == b'of this one'
    assert len(names(tmp_path)) == 2
    other.communicate('')
    assert other.returncode == 0
    assert path.read_bytes() == b'of the other'
    assert names(tmp_path) == [path.name]


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    strangers = ['.other.pt.0123abcd.tmp', 'a.pt.0123abcd.tmp', '.a.pt.tmp']
    for name in strangers:
        (tmp_path / name).touch()
    write_atomically(tmp_path / 'a.pt', b'whole')
    assert names(tmp_path) == sorted([*strangers, 'a.pt'])


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'a.pt'
    write_atomically(path, b'before')
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b'half')
        raise ZeroDivisionError
    assert names(tmp_path) == ['a.pt']
    assert path.read_bytes() == b'before'
