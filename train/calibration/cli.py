"""The part of `lb-ros calibrate` that decides: thresholds, and the file the robot loads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.table import Table

from encoders.model_sets.calibration import Calibration
from encoders.predicates.file import load_predicates
from train.bags.samples import Samples
from train.calibration.thresholds import (
    METHODS,
    Costs,
    ThresholdFit,
    fit_thresholds,
    write_predicates,
)
from train.fitted_table import print_table
from train.phrasings import Phrasings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group('decisions')
    group.add_argument('--out', type=Path, metavar='FILE', help='write a predicates file')
    group.add_argument(
        '--predicates',
        type=Path,
        metavar='FILE',
        help='take sentences and further predicates from this file; names as in the ground truth',
    )
    group.add_argument('--method', choices=METHODS, default='auto', help='of calibration')
    group.add_argument('--folds', type=int, default=5, help='of cross-validation, over bags')
    group.add_argument('--cost-false-positive', type=float, default=1.0, metavar='COST')
    group.add_argument('--cost-false-negative', type=float, default=1.0, metavar='COST')
    group.add_argument('--probe', action='store_true', help='compare with a linear probe')
    group.add_argument('--report', type=Path, metavar='FILE', help='write all fits as JSON')


def decide(
    args: argparse.Namespace,
    scores: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    fitted: Calibration,
    *,
    vectors: Mapping[str, NDArray[np.float32]],
    model: str,
) -> None:
    """Fit thresholds, print them, and write the files that are asked for.

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
    """One line per predicate; all numbers are of held-out bags."""
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
