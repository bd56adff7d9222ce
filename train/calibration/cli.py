"""Steps of `lb-ros calibrate` that fit thresholds and write the file that the robot loads."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.table import Table

from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.places import is_kept
from encoders.predicates.file import load_predicates
from train.bags.samples import Samples
from train.calibration.thresholds import (
    Costs,
    ThresholdFit,
    fit_thresholds,
    write_predicates,
)
from train.fitted_table import print_table
from train.phrasings import Phrasings

COPIES = Path('runs') / 'calibrated'


def folder_to_calibrate(folder: Path, *, overwrite: bool) -> Path:
    """Return the folder for the calibration of a set: the set itself, or a copy made here.

    A shipped, pulled or already calibrated set is copied unless `overwrite` is given.
    """
    if overwrite or not (is_kept(folder) or (folder / CALIBRATION).exists()):
        return folder
    copies = (COPIES / (folder.resolve().name + end) for end in _endings())
    out = next(path for path in copies if not path.exists())
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns(CALIBRATION))
    return out


def _endings() -> Iterator[str]:
    yield ''
    yield from (f'_{number}' for number in itertools.count(2))


def decide(
    args: argparse.Namespace,
    scores: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    fitted: Calibration,
    *,
    vectors: Mapping[str, NDArray[np.float32]],
    model: str,
) -> None:
    """Fit thresholds, print them, and write the requested files.

    Raises:
        ValueError: A cost is not positive, there are too few bags, or a file is unusable.
    """
    costs = Costs(args.cost_false_positive, args.cost_false_negative)
    if min(costs.false_positive, costs.false_negative) <= 0:
        raise ValueError('costs must be positive')
    existing = _read_entries(args.predicates) if args.predicates else None
    useful = {n: w > 0 for n, w in zip(fitted.names, fitted.weights, strict=True) if (w > 0).any()}
    fits = fit_thresholds(
        scores,
        samples.truth,
        samples.predicates,
        bags=samples.bag,
        useful=useful,
        costs=costs,
        method=args.method,
        folds=args.folds,
        vectors=vectors if args.probe else None,
    )
    if not fits:
        raise ValueError('no predicate can be told by a sensor in enough bags to set a threshold')
    print_thresholds(fits)
    if args.out:
        write_predicates(
            args.out,
            fits,
            Phrasings.load('trained'),
            model=model,
            calibration=fitted,
            existing=existing,
        )
        load_predicates(args.out)
    if args.report:
        args.report.write_text(json.dumps([asdict(fit) for fit in fits], indent=2) + '\n')


def _read_entries(predicates: Path) -> dict[str, dict[str, Any]]:
    load_predicates(predicates)  # raises with a clear message
    entries = yaml.safe_load(predicates.read_text())['predicates']
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise ValueError(f'{predicates}: needs a mapping of names with fields here')
    return entries


def print_thresholds(fits: list[ThresholdFit]) -> None:
    """Print one line per predicate; all numbers are for held-out bags."""
    table = Table(title='held-out decisions')
    columns = ('predicate', 'by', 'method', 'on', 'off', 'AUROC', 'ECE', 'false +', 'false -',
               'of', 'cost', 'probe')  # fmt: skip
    for column in columns:
        table.add_column(column)
    for fit in fits:
        table.add_row(
            fit.name,
            ', '.join(fit.modalities),
            fit.method,
            f'{fit.threshold_on:.2f}',
            f'{fit.threshold_off:.2f}',
            f'{fit.auroc:.3f}',
            f'{fit.ece[fit.method]:.3f}',
            str(fit.false_positives),
            str(fit.false_negatives),
            str(fit.moments),
            f'{fit.cost:.3f}',
            '' if fit.probe_auroc is None else f'{fit.probe_auroc:.3f}',
        )
    print_table(table)
