"""The labels of a bag as a table, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from encoders import Predicate
from train.bags.folder import bag_span_ns
from train.bags.labels import Label, name_of, read_label_file, without_overlaps
from train.fitted_table import print_table

SLACK_NS = 1_000_000_000  # of the end of a bag, whose last sensor may be late


def show_labels(
    bag: Path, path: Path, known: Sequence[Predicate], *, as_json: bool = False
) -> int:
    """Print the labels of a bag and check them.

    Args:
        bag: Bag folder or file.
        path: File of labels.
        known: Predicates that labels may name; another name must be a sentence.
        as_json: Print JSON.

    Returns:
        0, or 1 if there are problems.

    Raises:
        ValueError: The file is malformed.
        OSError: It cannot be read.
    """
    found = read_label_file(path)
    own = [each for each in found if each.bag == name_of(bag)]
    problems = checked(bag, path, own, known)
    if not own:
        problems.append(f'{path}: has no labels of {name_of(bag)!r}')
    labels = sorted(without_overlaps(own), key=lambda each: (each.predicate, each.start_ns))
    if as_json:
        rows = [
            {'predicate': e.predicate, 'start_s': e.start_s, 'end_s': e.end_s, 'truth': e.word}
            for e in labels
        ]
        print(json.dumps({'file': str(path), 'labels': rows, 'problems': problems}, indent=2))
    else:
        _print(labels, path, others=len(found) - len(own))
        for line in problems:
            print(f'lb-ros label: {line}', file=sys.stderr)
    return 1 if problems else 0


def checked(
    bag: Path, path: Path, labels: Sequence[Label], known: Sequence[Predicate]
) -> list[str]:
    """One line for everything that is wrong with the labels of a bag, with file and line."""
    problems = []
    span = bag_span_ns(bag)
    length_ns = None if span is None else span[1] - span[0]
    names = {predicate.name for predicate in known}
    for place, each in enumerate(labels):
        where = f'{path}:{each.line}'
        before = (o for o in labels[:place] if o.meets(each) and o.truth is not each.truth)
        clash = next(before, None)
        if clash is not None:
            problems.append(f'{where}: overlaps line {clash.line}, which it replaces there')
        if length_ns is not None and each.end_ns > length_ns + SLACK_NS:
            problems.append(
                f'{where}: ends at {each.end_s:.1f} s, after the end of the bag '
                f'({length_ns * 1e-9:.1f} s); times are seconds since its first sensor data'
            )
        if each.predicate not in names:
            try:
                Predicate.from_sentence(each.predicate)
            except ValueError as error:
                problems.append(f'{where}: {error}')
    return problems


def _print(labels: Sequence[Label], path: Path, *, others: int) -> None:
    table = Table(title=escape(str(path)))
    for column in ('predicate', 'start', 'end', 'truth'):
        table.add_column(column, justify='right' if column in ('start', 'end') else 'left')
    for each in labels:
        times = (f'{each.start_s:.3f} s', f'{each.end_s:.3f} s')
        table.add_row(escape(each.predicate), *times, each.word)
    print_table(table)
    for name in dict.fromkeys(each.predicate for each in labels):
        own = [each for each in labels if each.predicate == name]
        parts = [
            f'{word} {sum(e.end_s - e.start_s for e in some):.1f} s in {len(some)}'
            for word in ('true', 'false', 'unclear')
            if (some := [each for each in own if each.word == word])
        ]
        print(f'{name}: {", ".join(parts)}')
        if not {'true', 'false'} <= {each.word for each in own}:
            print(f'{name}: teaching and calibration need true and false stretches')
    if others:
        print(f'{others} labels of other bags')
