"""`lb-ros eval`: evaluate on labelled bags, language pairs, or data sets of the literature."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from encoders import Binder
from encoders.model_sets.encoder import EncoderSet
from encoders.model_sets.sources import parse_source
from train.bags.find import find_bags
from train.bags.labelled import LabelSet
from train.bags.load import LoadReport
from train.bags.recorded import wording_of
from train.bags.samples import Samples
from train.evaluation.evaluate import Vectors, embed_bags
from train.evaluation.metrics import Retrieval
from train.evaluation.pair_eval import embed_pairs, retrieval_tables
from train.evaluation.printing import print_evaluation
from train.evaluation.reading import read_bags
from train.evaluation.report import WORDINGS, evaluate_model_set
from train.evaluation.suites import SuiteResult, run_suite
from train.fitted_table import print_table
from train.pairs.data import open_pair_data
from train.pairs.options import PairOptions
from train.pairs.shards import is_pair_set
from train.phrasings import Phrasings


def run(args: argparse.Namespace) -> int:
    """Evaluate a suite, or what `--data` holds: retrieval on pairs, or predicates on bags."""
    measure = _suite if args.suite else _pairs if is_pair_set(args.data[0]) else _bags
    try:
        described = measure(args)
    except (KeyError, OSError, ValueError) as error:
        said = error.args[0] if isinstance(error, KeyError) else error
        print(f'lb-ros eval: {said}', file=sys.stderr)
        return 2
    text = json.dumps(described, indent=2)
    if args.report:
        args.report.write_text(text + '\n')
    if args.json:
        print(text)
    return 0


def _bags(args: argparse.Namespace) -> dict[str, Any]:
    binder = Binder.load(parse_source(args.model))
    bags = find_bags(args.data)
    own = wording_of(bags)
    wordings = wordings_of([*([own] if own else []), *args.phrasings])
    torch.set_num_threads(args.threads)
    read = read_bags(binder, bags, wordings=wordings, cache=args.cache, workers=args.workers)
    print_load_report(read.report)
    evaluation = evaluate_model_set(binder, read)
    if not args.json:
        print_evaluation(evaluation)
    return asdict(evaluation)


def wordings_of(names: Sequence[str | Path]) -> dict[str, Phrasings]:
    """The usual wordings and further ones, given by a shipped name or a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is invalid.
    """
    return {Path(name).stem: Phrasings.load(name) for name in (*WORDINGS, *names)}


def embedded(
    encoders: EncoderSet,
    bags: Sequence[Path],
    args: argparse.Namespace,
    *,
    labels: LabelSet | None = None,
) -> tuple[Vectors, Samples]:
    """Embed labelled bags with the options of `add_reading_arguments`, and report what is used.

    Raises:
        ValueError: No bag holds ground truth, or none has labels, where they are given.
    """
    torch.set_num_threads(args.threads)
    vectors, samples, report = embed_bags(
        encoders.encoders, bags, cache=args.cache, workers=args.workers, labels=labels
    )
    print_load_report(report, labelled=labels is not None)
    return vectors, samples


def print_load_report(report: LoadReport, *, labelled: bool = False) -> None:
    """Print problems and counts of bags to stderr; `labelled` if labels replace ground truth.

    Raises:
        ValueError: No bag can be used.
    """
    for line in report.problems:
        print(line, file=sys.stderr)
    print(f'{report.moments} moments from {report.bags} bags', file=sys.stderr)
    if not report.moments:
        raise ValueError(f'no bag {"has labels" if labelled else "holds ground truth"}')


def _binder(args: argparse.Namespace) -> Binder:
    if len(args.data) != 1:
        raise ValueError('--data must be one folder')
    return Binder.load(parse_source(args.model))


def _suite(args: argparse.Namespace) -> dict[str, Any]:
    result = run_suite(args.suite, args.data[0], _binder(args), templates=args.templates)
    for line in result.problems:
        print(f'left out: {line}', file=sys.stderr)
    if not args.json:
        print_suite(result)
    return asdict(result)


def _pairs(args: argparse.Namespace) -> dict[str, Any]:
    binder = _binder(args)
    data = open_pair_data(args.data, PairOptions(), evaluation=True)
    found = embed_pairs(binder, data, binder.modalities)
    tables = retrieval_tables(found)
    if not args.json:
        print_retrieval(f'{binder.model} on {len(found.pairs)} pairs', tables)
    return {
        'model': binder.model,
        'space': binder.space,
        'pairs': len(found.pairs),
        'texts': len(found.texts),
        'retrieval': {name: asdict(table) for name, table in tables.items()},
    }


def print_suite(result: SuiteResult) -> None:
    """Print a table of accuracies, or of recalls."""
    title = f'{result.suite}: {result.model}, {result.cases:,} cases'
    if result.retrieval:
        print_retrieval(title, result.retrieval)
        return
    table = Table(title=title)
    for column in ('modality', 'top-1', 'most frequent class'):
        table.add_column(column)
    for name, accuracy in result.top1.items():
        table.add_row(name, str(accuracy), f'{result.chance:.3f}')
    print_table(table)


def print_retrieval(title: str, tables: Mapping[str, Retrieval]) -> None:
    """Print a table of recalls in all directions, with 95 % intervals."""
    table = Table(title=title)
    for column in ('direction', 'of', 'R@1', 'R@5', 'R@10', 'MedR', 'chance'):
        table.add_column(column)
    for name, one in tables.items():
        recalls = [str(one.recall[k]) for k in one.recall]
        median = f'{one.median_rank.value:.0f}'
        table.add_row(name, str(one.candidates), *recalls, median, f'{one.chance:.4f}')
    print_table(table)
