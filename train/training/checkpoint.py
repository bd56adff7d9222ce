"""Checkpoints that survive a kill, a full disk or a diverging loss."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from encoders.atomic import atomic_file, write_atomically
from encoders.reading import why_unreadable

CHECKPOINT, LOG = 'checkpoint.pt', 'log.jsonl'
SOURCES = ('encoders', 'train')
# Keys that checkpoints of earlier versions lack, with the value that those versions had.
EARLIER: dict[str, Any] = {
    'hub': 'language',
    'unfreeze_blocks': 0,
    'blocks_learning_rate': 1e-4,
    'keep_weight': 1.0,
}


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or resumed from; the message gives the reason."""


class DivergedError(RuntimeError):
    """A loss or gradient is not finite; the last checkpoint is intact."""


def refuse_other_run(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that already holds a run, unless the run is resumed or overwritten.

    Raises:
        FileExistsError: `out` holds a run, and neither `resume` nor `overwrite` is given.
    """
    found = next((out / name for name in (CHECKPOINT, LOG) if (out / name).exists()), None)
    if found and not (resume or overwrite):
        raise FileExistsError(
            f'{out}: already holds a run ({found.name}); give --resume to go on with it, '
            f'--overwrite to begin again, or another --out'
        )


def save_checkpoint(
    path: Path,
    state: Mapping[str, Any],
    *,
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
) -> None:
    """Write a checkpoint; if that fails, the previous checkpoint is kept.

    Args:
        path: The file.
        state: Tensors and plain values.
        recipe: The configuration of the run.
        data: Values that identify its data.

    Raises:
        CheckpointError: The disk is full, or the file cannot be written for another reason.
    """
    whole = {**state, 'recipe': dict(recipe), 'data': dict(data), 'code': code_version()}
    try:
        with atomic_file(path) as file:
            torch.save(whole, file)
    # torch wraps the error of its stream; either may carry the reason.
    except (OSError, RuntimeError) as error:
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        kept = 'the one before it is kept' if path.exists() else 'there is none before it'
        raise CheckpointError(
            f'{path}: the checkpoint cannot be written ({reason}); {kept}'
        ) from error


def load_checkpoint(
    path: Path,
    *,
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
    changeable: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Read a checkpoint and check that it belongs to this run.

    Args:
        path: The file.
        recipe: The configuration of the run that resumes.
        data: Values that identify its data.
        changeable: Keys of the recipe that may differ.

    Raises:
        FileNotFoundError: There is no checkpoint.
        CheckpointError: It is damaged, or belongs to another recipe or other data.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no checkpoint to resume from')
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location='cpu')
    except Exception as error:  # zip, pickle and torch raise errors of different types
        raise CheckpointError(f'{path}: damaged ({why_unreadable(error)})') from error
    for kind, wanted in (('recipe', recipe), ('data', data)):
        found = state.get(kind, {})
        for key in sorted(set(wanted) | set(found)):
            before, now = _plain(found.get(key, EARLIER.get(key))), _plain(wanted.get(key))
            if before != now and not (kind == 'recipe' and key in changeable):
                raise CheckpointError(
                    f'{path}: was trained with {kind} {key} = {_short(before)}, '
                    f'not {_short(now)}; a run cannot go on with other ones'
                )
    if state.get('code') != code_version():
        print(f'{path}: was written by code {state.get("code")}, this is {code_version()}')
    return state


@lru_cache(maxsize=1)
def code_version() -> str:
    """Version of the package and a hash of the sources that affect results."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((root / folder).rglob('*.py')):
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    try:
        version = importlib.metadata.version('lb_ros')
    except importlib.metadata.PackageNotFoundError:
        version = 'source'
    return f'{version}+{digest.hexdigest()[:12]}'


def forget_later_steps(log: Path, step: int) -> None:
    """Remove the log lines that a killed run wrote after its last checkpoint."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line).get('step', 0) <= step:
                kept.append(line)
        except ValueError:  # the line was incomplete when the run was killed
            continue
    write_atomically(log, ''.join(f'{line}\n' for line in kept).encode())


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
