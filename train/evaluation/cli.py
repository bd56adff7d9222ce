"""`lb-ros eval` on data sets of the literature and on language pairs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from encoders import Binder
from encoders.errors import ModelSetError, SpaceError
from encoders.model_sets.sources import parse_source
from train.evaluation.metrics import Retrieval
from train.evaluation.pair_eval import embed_pairs, retrieval_tables
from train.evaluation.suites import SuiteResult, run_suite
from train.fitted_table import print_table
from train.pairs.data import open_pair_data
from train.pairs.options import PairOptions


def run(args: argparse.Namespace) -> int:
    """Measure a suite, or retrieval on the pairs in `--data`."""
    try:
        if len(args.data) != 1:
            raise ValueError('--data must be one folder')
        binder = Binder.load(parse_source(args.model))
        described = _suite(args, binder) if args.suite else _pairs(args, binder)
    except (KeyError, ModelSetError, OSError, SpaceError, ValueError) as error:
        said = error.args[0] if isinstance(error, KeyError) else error
        print(f'lb-ros eval: {said}', file=sys.stderr)
        return 2
    text = json.dumps(described, indent=2)
    if args.report:
        args.report.write_text(text + '\n')
    if args.json:
        print(text)
    return 0


def _suite(args: argparse.Namespace, binder: Binder) -> dict[str, Any]:
    result = run_suite(args.suite, args.data[0], binder, templates=args.templates)
    for line in result.problems:
        print(f'left out: {line}', file=sys.stderr)
    if not args.json:
        print_suite(result)
    return asdict(result)


def _pairs(args: argparse.Namespace, binder: Binder) -> dict[str, Any]:
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
