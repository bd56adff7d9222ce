"""`lb-ros teach --data`: teach predicates from labelled bags."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from encoders import Binder, Predicate, PredicateBank, load_predicates
from encoders.predicates.lessons import Lesson
from encoders.predicates.taught_file import load_lessons, save_lessons, taught_path
from encoders.shipped import shipped
from train.bags.find import find_bags, refuse_evaluation_bags
from train.score.cli import ERRORS, load_binder, reason_of, sources_of
from train.teaching.labels import predicates_for, read_labels
from train.teaching.presses import Made, teach_from_bags


def run(args: argparse.Namespace) -> int:
    """Teach from bags; return 0 on success, 2 for unusable input."""
    try:
        return _taught(args)
    except ERRORS as error:
        print(f'lb-ros teach: {reason_of(error)}', file=sys.stderr)
        return 2


def _taught(args: argparse.Namespace) -> int:
    bags = find_bags(args.data)
    refuse_evaluation_bags(bags)
    labels = read_labels(args.labels)
    path = args.out or taught_path(args.predicates or Path('predicates.yaml'))
    predicates = load_predicates(args.predicates or shipped('config/predicates.yaml'))
    binder = load_binder(args)
    bank = _bank(binder, predicates_for(labels, predicates), path)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task('reading bags', total=len(bags))
        made = teach_from_bags(
            bank,
            sources_of(args, bags, binder),
            labels,
            progress=lambda bag: bar.advance(task),
        )
    for line in made.problems:
        print(f'lb-ros teach: {line}', file=sys.stderr)
    if not made.presses:
        print('lb-ros teach: no label could be used; nothing was written', file=sys.stderr)
        return 2
    bank.teach(*made.lessons)
    save_lessons(path, bank.lessons)
    _tell(bank, made, path, as_json=args.json)
    return 0


def _bank(binder: Binder, predicates: Sequence[Predicate], path: Path) -> PredicateBank:
    return PredicateBank(predicates, binder, lessons=load_lessons(path))


def _tell(bank: PredicateBank, made: Made, path: Path, *, as_json: bool) -> None:
    rows = [_row(bank, lesson) for lesson in made.lessons]
    if as_json:
        print(json.dumps({'file': str(path), 'presses': made.presses, 'taught': rows}, indent=2))
        return
    print(f'{path}: {made.presses} presses of {len(rows)} predicates')
    for row in rows:
        accuracy = 'needs two of each'
        if row['left_out'] is not None:
            accuracy = f'{row["left_out"]:.2f} [{row["low"]:.2f}, {row["high"]:.2f}] left out'
        sensors = ', '.join(f'{m} {s:.0%}' for m, s in row['sensors'].items())
        presses = f'{row["true"]} true, {row["false"]} false'
        print(f'  {row["predicate"]}: {presses}; {accuracy}; {sensors}')


def _row(bank: PredicateBank, lesson: Lesson) -> dict[str, Any]:
    taught = bank.taught[lesson.predicate.name]
    yes, no = taught.lesson.counts
    estimate = None if taught.head is None else taught.head.estimate
    return {
        'predicate': lesson.predicate.name,
        'true': yes,
        'false': no,
        'left_out': None if estimate is None else round(estimate.accuracy, 3),
        'low': None if estimate is None else round(estimate.low, 3),
        'high': None if estimate is None else round(estimate.high, 3),
        'sensors': {m: round(share, 3) for m, share in taught.sensors.items()},
    }
