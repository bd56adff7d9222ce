"""Labelled samples of recordings that are no bags; their groups take the place of bags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from encoders.decode.series import Series
from encoders.preprocess import Config, is_series, objection, remarks, stored_form, to_stored
from train.bags.problems import Problems
from train.bags.samples import REGION_SIZE, UNKNOWN, Array, Samples
from train.recordings.mapping import Recordings, is_mapping, phrasings_of, read_mapping
from train.recordings.runs import read_runs
from train.recordings.series import Moment, moments


def extract_recordings(path: Path, configs: Mapping[str, Config]) -> tuple[Samples, list[str]]:
    """The samples of a mapping and its problems; see `samples_of`."""
    return samples_of(read_mapping(path), path.parent, configs)


def wording_of(paths: Sequence[Path]) -> str | None:
    """The phrasings that mappings of recordings name; None if there is no mapping.

    Raises:
        OSError, ValueError: A mapping cannot be read, or they name different ones.
    """
    found = {phrasings_of(read_mapping(path), path) for path in paths if is_mapping(path)}
    if len(found) > 1:
        raise ValueError(f'the recordings have different phrasings: {", ".join(sorted(found))}')
    return next(iter(found), None)


def samples_of(
    recordings: Recordings, folder: Path, configs: Mapping[str, Config]
) -> tuple[Samples, list[str]]:
    """Labelled samples, and one line per problem.

    Args:
        recordings: What to read.
        folder: Folder to which its paths are relative.
        configs: Preprocessing by modality; those without a sensor in the mapping are left out.

    Raises:
        RecordingError: A file is missing or unreadable, or lacks what the mapping names.
    """
    problems = Problems()
    series = {
        name: config
        for name, config in configs.items()
        if name in recordings.sensors and is_series(config)
    }
    for name in configs.keys() - series.keys():
        problems.add(f'{folder}: no {name} in these recordings')
    lengths_s = {name: config.window_s for name, config in series.items()}
    rows: list[tuple[str, Moment]] = []
    inputs: dict[str, list[Array]] = {name: [] for name in series}
    for group, run in read_runs(recordings, folder, problem=problems.add) if series else ():
        for moment in moments(run, recordings, lengths_s):
            rows.append((group, moment))
            for name, config in series.items():
                inputs[name].append(
                    _stored(moment.series.get(name), config, f'{folder}: {name}', problems)
                )
    stacked = {name: np.stack(found) for name, found in inputs.items() if found}
    return _table([group for group, _ in rows], [m for _, m in rows], configs, stacked), list(
        problems
    )


def _stored(found: Series | None, config: Config, where: str, problems: Problems) -> Array:
    """The stored input of a window; 0 where it is no evidence."""
    shape, kind = stored_form(config)
    if found is None:
        return np.zeros(shape, kind)
    objected = objection(found, config)
    if objected is not None:
        problems.add_message(f'{where}: {objected.line}; skipped')
        return np.zeros(shape, kind)
    for line in remarks(found, config):
        problems.add_message(f'{where}: {line}')
    return to_stored(found, config)


def _table(
    groups: list[str],
    rows: list[Moment],
    configs: Mapping[str, Config],
    stacked: Mapping[str, Array],
) -> Samples:
    names = sorted({name for moment in rows for name in moment.facts})
    truth = np.full((len(rows), len(names)), UNKNOWN, np.int8)
    for index, moment in enumerate(rows):
        for name, holds in moment.facts.items():
            truth[index, names.index(name)] = holds
    known = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(known)}
    inputs = {}
    for name, config in configs.items():
        shape, kind = stored_form(config)
        inputs[name] = stacked.get(name, np.zeros((len(rows), *shape), kind))
    return Samples(
        inputs=inputs,
        truth=truth,
        predicates=tuple(names),
        bag=np.array([number[group] for group in groups], np.int64),
        times_s=np.array([moment.time_s for moment in rows], np.float64),
        bags=tuple(known),
        regions=np.zeros((len(rows), REGION_SIZE, REGION_SIZE), np.uint8),
        region_names=(),
    )
