"""`lb-ros calibrate`: fit probabilities and thresholds on labelled bags."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from rich.table import Table

from encoders import Binder
from encoders.model_sets.calibration import FILE as CALIBRATION
from encoders.model_sets.calibration import Calibration, join_calibrations
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.places import find_set, is_kept
from encoders.model_sets.readouts import CALIBRATION as READOUT_CALIBRATION
from encoders.model_sets.readouts import FILE as READOUT
from encoders.model_sets.sources import load_encoders
from encoders.predicates.file import load_predicates
from encoders.shipped import shipped
from train.bags.find import find_bags, refuse_evaluation_bags
from train.bags.labelled import LabelSet, read_labels, unused
from train.bags.recorded import wording_of
from train.bags.samples import Samples
from train.calibration.calibrate import calibrate, scores_to_fit
from train.calibration.readouts import read_tokens
from train.calibration.thresholds import (
    Costs,
    ThresholdFit,
    fit_thresholds,
    write_predicates,
)
from train.evaluation.cli import embedded, print_load_report
from train.evaluation.evaluate import Vectors
from train.fitted_table import print_table
from train.phrasings import Phrasings

COPIES = Path('runs') / 'calibrated'


def run(args: argparse.Namespace) -> int:
    """Fit probabilities; return 0 on success, 2 for unusable input."""
    try:
        print(_calibrated(args))
    except (OSError, ValueError) as error:
        print(f'lb-ros calibrate: {error}', file=sys.stderr)
        return 2
    return 0


def _calibrated(args: argparse.Namespace) -> str:
    """Fit and write; return what was done."""
    folder = find_set(args.model)
    bags = find_bags(args.data)
    refuse_evaluation_bags(bags)
    encoders = load_encoders(folder)
    phrasings = Phrasings.load(wording_of(bags) or 'trained')
    labels = _labels(args, bags, phrasings)
    if labels is not None:
        phrasings = labels.wording(phrasings)
    embed, space = encoders.text.embed, encoders.text.space
    odds: Mapping[str, NDArray[np.float32]] = {}
    if encoders.readouts:
        vectors, odds, samples = _read(encoders, bags, phrasings, args, labels=labels)
    else:
        vectors, samples = embedded(encoders, bags, args, labels=labels)
    scores = scores_to_fit(vectors, samples, embed=embed, phrasings=phrasings)
    fitted = calibrate(scores, samples, space=space, embed=embed, phrasings=phrasings)
    read, read_fit = scores, fitted
    if odds:  # a sensor without a readout is fused with those that have one
        read = {name: odds.get(name, table) for name, table in scores.items()}
        read_fit = calibrate(
            read, samples, space=space, embed=embed, phrasings=phrasings, as_sides=True
        )
    to = folder_to_calibrate(folder, overwrite=args.overwrite)
    kept = kept_sensors(fitted, encoders.calibration)
    with_kept(fitted, encoders.calibration).save(to)
    if odds:
        with_kept(read_fit, encoders.readout_calibration).save(to, file=READOUT_CALIBRATION)
    if args.out or args.report:
        decide(
            args,
            read,
            samples,
            read_fit,
            vectors=vectors,
            model=folder.name,
            of_vectors=not odds,
            phrasings=labels.wording(Phrasings.load('trained')) if labels else None,
        )
    also = ', also as the readouts read them' if odds else ''
    told = f'{len(fitted.names)} predicates calibrated on {len(samples)} moments{also}, in {to}'
    if kept:
        told += f'\n{", ".join(kept)}: not in these bags, so the calibration stays as it was'
    return told


def kept_sensors(fitted: Calibration, before: Calibration | None) -> list[str]:
    """Modalities of an earlier calibration that the data of the new one lack."""
    if before is None or before.space != fitted.space or before.positives is None:
        return []
    return [name for name in before.modalities if name not in fitted.modalities]


def with_kept(fitted: Calibration, before: Calibration | None) -> Calibration:
    """A new calibration, joined with the earlier one of sensors that its data lack."""
    kept = kept_sensors(fitted, before)
    if before is None or not kept:
        return fitted
    return join_calibrations([fitted, *before.of_modalities(kept)])


def _labels(
    args: argparse.Namespace, bags: Sequence[Path], phrasings: Phrasings
) -> LabelSet | None:
    """The labels that take the place of the ground truth; None without `--labels`.

    Raises:
        OSError, ValueError: A file cannot be used, or recordings that are no bags are given.
    """
    if not args.labels:
        return None
    known = load_predicates(args.predicates or shipped('config/predicates.yaml'))
    labels = read_labels(args.labels, known=known, phrasings=phrasings)
    for line in unused(labels, bags):
        print(line, file=sys.stderr)
    return labels


def _read(
    encoders: EncoderSet,
    bags: list[Path],
    phrasings: Phrasings,
    args: argparse.Namespace,
    *,
    labels: LabelSet | None,
) -> tuple[Vectors, Mapping[str, NDArray[np.float32]], Samples]:
    torch.set_num_threads(args.threads)
    vectors, odds, samples, report = read_tokens(
        Binder(encoders),
        bags,
        embed=encoders.text.embed,
        phrasings=phrasings,
        cache=args.cache,
        workers=args.workers,
        labels=labels,
    )
    print_load_report(report, labelled=labels is not None)
    return vectors, odds, samples


def folder_to_calibrate(folder: Path, *, overwrite: bool) -> Path:
    """Return the folder for the calibration of a set: the set itself, or a copy made here.

    A shipped, pulled or already calibrated set is copied unless `overwrite` is given. A set with
    readouts is calibrated if they are.
    """
    file = READOUT_CALIBRATION if (folder / READOUT).exists() else CALIBRATION
    if overwrite or not (is_kept(folder) or (folder / file).exists()):
        return folder
    copies = (COPIES / (folder.resolve().name + end) for end in _endings())
    out = next(path for path in copies if not path.exists())
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns(CALIBRATION, READOUT_CALIBRATION))
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
    of_vectors: bool = True,
    phrasings: Phrasings | None = None,
) -> None:
    """Fit thresholds, print them, and write the requested files.

    The file for the robot holds the calibration only if it is `of_vectors`: a predicate with its
    own calibration is never read by a readout. `phrasings` are the trained ones by default.

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
            phrasings or Phrasings.load('trained'),
            model=model,
            calibration=fitted if of_vectors else None,
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
