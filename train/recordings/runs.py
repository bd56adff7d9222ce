"""The runs of a mapping: readers by format, selection and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from train.recordings.mapping import FORMATS, Recordings, Runs
from train.recordings.split import split
from train.recordings.table import RecordingError, Run

Reader = Callable[[Path, Runs], Iterator[Run]]
# Module of each format with its function `read`.
READERS = {'numpy': 'arrays', 'csv': 'csv_files', 'hdf5': 'hdf5', 'lerobot': 'lerobot'}


def read_runs(
    recordings: Recordings, folder: Path, *, problem: Callable[[str], object]
) -> Iterator[tuple[str, Run]]:
    """Yield the runs that a mapping selects, each with the name of its group.

    Args:
        recordings: The mapping.
        folder: Folder to which its paths are relative.
        problem: Receives a line for every file that cannot be read, and is skipped.

    Raises:
        RecordingError: A file is missing or of unknown format, or lacks what the mapping names.
    """
    for path in files_of(recordings, folder):
        for whole in _readable(path, recordings, problem):
            for run in split(whole, recordings.runs):
                if recordings.wanted(_Values(run)):
                    names = [str(run.value(name)) for name in recordings.group]
                    yield ' '.join(names) or run.name, run


def _readable(
    path: Path, recordings: Recordings, problem: Callable[[str], object]
) -> Iterator[Run]:
    """What can be read of a file; one bad file of many must not end a training."""
    found = _reader(_format(recordings, path))(path, recordings.runs)
    while True:
        try:
            run = next(found, None)
        except RecordingError as error:
            problem(f'{error}; the rest of it is skipped')
            return
        if run is None:
            return
        yield run


def _reader(name: str) -> Reader:
    """The reader of a format, imported when it is needed: robots have no pyarrow."""
    read: Reader = import_module(f'{__package__}.{READERS[name]}').read
    return read


class _Values(dict[str, object]):
    """Values of a run, looked up when they are asked for."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __missing__(self, name: str) -> object:
        return self._run.value(name)


def files_of(recordings: Recordings, folder: Path) -> list[Path]:
    """The files and data sets of a mapping, in the order of its patterns.

    Raises:
        RecordingError: A pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in recordings.files:
        whole = Path(pattern) if Path(pattern).is_absolute() else folder / pattern
        root = Path(whole.anchor)
        matches = sorted(root.glob(str(whole.relative_to(root)))) if '*' in pattern else [whole]
        if not matches or not all(path.exists() for path in matches):
            raise RecordingError(f'{whole}: no such file or folder; `files` must name recordings')
        found += matches
    return list(dict.fromkeys(found))


def _format(recordings: Recordings, path: Path) -> str:
    if recordings.format:
        return recordings.format
    if (path / 'meta' / 'info.json').is_file():
        return 'lerobot'
    if path.suffix.lower() not in FORMATS:
        raise RecordingError(
            f'{path}: unknown format, expected {", ".join(FORMATS)} or a folder with '
            f'meta/info.json; give `format`'
        )
    return FORMATS[path.suffix.lower()]
