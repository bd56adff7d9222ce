"""The command `lb-ros bench`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from encoders import ModelSetError
from encoders.vision.precision import check_device
from lb_ros.bench.engine import engine
from lb_ros.bench.environment import environment
from lb_ros.bench.measure import Measurement, read, write
from lb_ros.bench.suites import SUITES


def run(args: argparse.Namespace) -> int:
    """Measure or compare; return 0 if done, 2 for unusable input."""
    try:
        if args.compare:
            return _compare(*args.compare, as_json=args.json)
        check_device(args.device)
        return _measure(args)
    except (ModelSetError, OSError, ValueError) as error:
        print(f'lb-ros bench: {error}', file=sys.stderr)
        return 2


def _measure(args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = {
        **environment(),
        'model': args.model,
        'precision': args.precision,
        'threads': torch.get_num_threads(),
        'device': _device_name(args.device),
    }
    on_device = partial(engine, device=args.device, batch=args.batch, compilation=args.compilation)
    suites = SUITES | {'engine': on_device}
    found: list[Measurement] = []
    console = Console(stderr=True)
    for name in track(args.suites or list(SUITES), 'measuring', console=console):
        found += suites[name](args.model, args.precision, args.repeats)
    if args.out:
        for path in write(args.out, facts, found, name=args.name):
            print(f'written to {path}', file=sys.stderr)
    if args.json:
        rows = [asdict(one) for one in found]
        print(json.dumps({**facts, 'measurements': rows}, indent=2))
        return 0
    from train.fitted_table import print_table

    table = Table(title=f'{args.model} on {facts["machine"]["cpu"]}, {facts["threads"]} threads')
    for column in ('suite', 'case', 'median ms', 'p95 ms', 'CPU ms'):
        table.add_column(column, justify='right' if column.endswith('ms') else 'left')
    for one in found:
        numbers = [f'{value:.3f}' for value in (one.median_ms, one.p95_ms, one.cpu_ms)]
        table.add_row(one.suite, one.case, *numbers)
    print_table(table)
    return 0


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith('cuda') else device


def _compare(first: Path, second: Path, *, as_json: bool) -> int:
    before, after = read(first), read(second)
    both = [key for key in before if key in after]
    if not both:
        raise ValueError(f'{first} and {second} have no case in common')
    rows = [
        {
            'suite': suite,
            'case': case,
            'a_ms': before[suite, case],
            'b_ms': after[suite, case],
            'ratio': after[suite, case] / max(before[suite, case], 1e-9),
        }
        for suite, case in both
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    from train.fitted_table import print_table

    table = Table(title=f'B {second} against A {first}')
    for column in ('suite', 'case', 'A ms', 'B ms', 'B / A'):
        table.add_column(column, justify='left' if column in ('suite', 'case') else 'right')
    for row in rows:
        numbers = (f'{row["a_ms"]:.3f}', f'{row["b_ms"]:.3f}', f'{row["ratio"]:.2f}')
        table.add_row(str(row['suite']), str(row['case']), *numbers)
    print_table(table)
    return 0
