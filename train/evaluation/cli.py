"""`lb-ros eval`: on labelled bags, on language pairs, and on data sets of the literature."""

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
from encoders.model_sets.sources import load_encoders, parse_source
from train.bags.find import find_bags
from train.bags.load import LoadReport
from train.bags.samples import Samples
from train.evaluation.evaluate import Vectors, embed_bags
from train.evaluation.metrics import Retrieval
from train.evaluation.pair_eval import embed_pairs, retrieval_tables
from train.evaluation.report import evaluate_model_set, print_evaluation
from train.evaluation.suites import SuiteResult, run_suite
from train.fitted_table import print_table
from train.pairs.data import open_pair_data
from train.pairs.options import PairOptions
from train.pairs.shards import is_pair_set

DEFAULT_CACHE = Path('runs/cache')
SUITES = ('llvip', 'nyu-d', 'esc50', 'clotho', 'msrvtt')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = 'example: lb-ros eval --model lb-mini --data bags/eval --report report.json'
    parser.add_argument(
        '--model',
        default='lb-mini',
        help='model set, folder of a released checkpoint, or MODALITY=FOLDER,MODALITY=FOLDER',
    )
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        required=True,
        help='bags with ground truth, a folder of pairs, or the data of --suite',
    )
    parser.add_argument('--report', type=Path, help='write all results as JSON')
    parser.add_argument('--json', action='store_true', help='print them as JSON')
    parser.add_argument('--suite', choices=SUITES, help="a protocol on one's own copy in --data")
    parser.add_argument('--templates', type=Path, help='YAML of prompt templates for --suite')
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how labelled bags are read."""
    parser.add_argument('--workers', type=int, default=2, help='processes that read bags')
    parser.add_argument('--threads', type=int, default=2, help='threads that compute')
    parser.add_argument('--cache', type=Path, default=DEFAULT_CACHE, help='extracted inputs')


def run(args: argparse.Namespace) -> int:
    """Measure a suite, retrieval on pairs, or predicates on bags, whichever `--data` holds."""
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
    encoders = load_encoders(parse_source(args.model))
    vectors, samples = embedded(encoders, find_bags(args.data), args)
    evaluation = evaluate_model_set(encoders, vectors, samples)
    if not args.json:
        print_evaluation(evaluation)
    return asdict(evaluation)


def embedded(
    encoders: EncoderSet, bags: Sequence[Path], args: argparse.Namespace
) -> tuple[Vectors, Samples]:
    """Vectors and truth of labelled bags, as `add_reading_arguments` says; reports what is used.

    Raises:
        ValueError: No bag holds ground truth.
    """
    torch.set_num_threads(args.threads)
    vectors, samples, report = embed_bags(
        encoders.encoders, bags, cache=args.cache, workers=args.workers
    )
    print_load_report(report)
    return vectors, samples


def print_load_report(report: LoadReport) -> None:
    """Problems and counts of labelled bags, on the error stream.

    Raises:
        ValueError: No bag holds ground truth.
    """
    for line in report.problems:
        print(line, file=sys.stderr)
    print(f'{report.moments} moments from {report.bags} bags', file=sys.stderr)
    if not report.moments:
        raise ValueError('no bag holds ground truth')


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
    """A table of accuracies, or of recalls."""
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
    """A table of recalls in all directions, with 95 % intervals."""
    table = Table(title=title)
    for column in ('direction', 'of', 'R@1', 'R@5', 'R@10', 'MedR', 'chance'):
        table.add_column(column)
    for name, one in tables.items():
        recalls = [str(one.recall[k]) for k in one.recall]
        median = f'{one.median_rank.value:.0f}'
        table.add_row(name, str(one.candidates), *recalls, median, f'{one.chance:.4f}')
    print_table(table)
