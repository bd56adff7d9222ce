"""Search for bags in folders, and protection of bags that are reserved for evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from train.bags.folder import is_storage, read_marks
from train.recordings.mapping import is_mapping, read_mapping

EVALUATION_SUITES = ('libero_goal', 'libero_10', 'contact_eval')


class EvaluationDataError(ValueError):
    """A bag that is reserved for evaluation was given for training or calibration."""


def find_bags(paths: Iterable[Path]) -> list[Path]:
    """Return the bag folders and files at or directly below the given paths, sorted.

    A mapping of other recordings (`train.recordings.mapping`) takes the place of a bag.

    Raises:
        FileNotFoundError: A path does not exist or holds no bag.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f'{path}: no such file or folder')
        if path.is_file() or (path / 'metadata.yaml').exists():
            found.append(path)
            continue
        inside = [p.parent for p in path.glob('*/metadata.yaml')]
        for entry in path.iterdir():
            is_bag = is_storage(entry) if entry.is_file() else _holds_storage(entry)
            if is_bag and entry not in inside:
                inside.append(entry)
        if not inside:
            raise FileNotFoundError(f'{path}: no bag in this folder (.mcap, .db3)')
        found += sorted(inside)
    return found


def _holds_storage(folder: Path) -> bool:
    """Whether a folder without metadata.yaml is a bag."""
    if folder.name.startswith('.') or not os.access(folder, os.R_OK | os.X_OK):
        return False
    return any(is_storage(file) and file.is_file() for file in folder.iterdir())


def _marks(bag: Path) -> Mapping[str, str]:
    return {'split': read_mapping(bag).split} if is_mapping(bag) else read_marks(bag)


def refuse_evaluation_bags(bags: Sequence[Path]) -> None:
    """Raise if a bag is marked as reserved for evaluation.

    Raises:
        EvaluationDataError: A bag is reserved; the message names the first one.
    """
    for bag in bags:
        marks = _marks(bag)
        if marks.get('split') == 'evaluation' or marks.get('suite') in EVALUATION_SUITES:
            raise EvaluationDataError(
                f'{bag}: kept for evaluation (suite {marks.get("suite", "unknown")}); '
                f'nothing may be trained or calibrated on it'
            )
