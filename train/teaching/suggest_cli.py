"""`lb-ros teach --suggest`: which moments of bags to label next."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from encoders import MODALITIES, Binder, Predicate, PredicateBank, load_predicates
from encoders.predicates.taught_file import taught_path, usable_lessons
from encoders.shipped import shipped
from train.bags.find import find_bags
from train.bags.folder import BagError
from train.bags.reader import BagReport
from train.score.cli import ERRORS, load_binder, reason_of, sources_of
from train.score.timeline import PAGE
from train.teaching.suggestions import Suggested, candidates_of, suggest, write_pictures
from train.template import render

TEMPLATE = Path(__file__).with_name('suggested.html.j2')


def run(args: argparse.Namespace) -> int:
    """Suggest moments; return 0 on success, 1 without any, 2 for unusable input."""
    try:
        if not args.sentence:
            raise ValueError('--suggest needs a statement, or the name of a predicate of the file')
        bags = find_bags(args.suggest)
        predicate = _predicate(args)
        binder = load_binder(args)
        bank = _bank(args, binder, predicate)
        sources = {source.path: source for source in sources_of(args, bags, binder)}
        found = []
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task('reading bags', total=len(sources))
            for source in sources.values():
                report = BagReport(source.path)
                try:
                    found += candidates_of(bank, source, report)
                except BagError as error:  # the other bags are still read
                    _warn(str(error))
                for line in report.problems:
                    _warn(line)
                bar.advance(task)
        lesson = bank.lessons.by_name.get(predicate.name)
        chosen = suggest(found, () if lesson is None else lesson.presses, count=args.count)
        files = write_pictures(chosen, sources.__getitem__, args.page)
        records = _records(chosen, files)
        _write_page(f'What to label for “{predicate.positive[0]}”', records, args.page)
    except ERRORS as error:
        _warn(reason_of(error))
        return 2
    _tell(records, predicate, args)
    return 0 if records else 1


def _predicate(args: argparse.Namespace) -> Predicate:
    """The predicate of this name or sentence in the file, otherwise the sentence itself."""
    for known in load_predicates(args.predicates or shipped('config/predicates.yaml')):
        if args.sentence == known.name or args.sentence.strip().rstrip('.!') in known.positive:
            return known
    return Predicate.from_sentence(args.sentence)


def _bank(args: argparse.Namespace, binder: Binder, predicate: Predicate) -> PredicateBank:
    path = args.out or taught_path(args.predicates or Path('predicates.yaml'))
    lessons = usable_lessons(path, binder, warn=_warn)
    return PredicateBank([predicate], binder, lessons=lessons)


def _records(chosen: Sequence[Suggested], files: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            'rank': rank,
            'bag': str(each.moment.bag),
            'name': each.moment.bag.name,
            'time_s': round(each.moment.time_s, 3),
            'probability': round(each.moment.probability, 4),
            'can_tell': each.moment.can_tell,
            'gain': round(each.gain, 4),
            'pictures': pictures,
            'command': 'lb-ros dashboard '
            + shlex.quote(f'{each.moment.bag}@{each.moment.recorded_s:.1f}s'),
        }
        for rank, (each, pictures) in enumerate(zip(chosen, files, strict=True), start=1)
    ]


def _write_page(title: str, records: Sequence[dict[str, Any]], folder: Path) -> None:
    columns = [m for m in MODALITIES if any(m in record['pictures'] for record in records)]
    css = (PAGE / 'timeline.css').read_text()
    page = render(TEMPLATE, css=css, title=title, found=records, columns=columns)
    (folder / 'index.html').write_text(page)


def _tell(
    records: Sequence[dict[str, Any]], predicate: Predicate, args: argparse.Namespace
) -> None:
    page = args.page / 'index.html'
    if args.json:
        told = {'predicate': predicate.name, 'page': str(page), 'moments': records}
        print(json.dumps(told, indent=2))
        return
    for record in records:
        caveat = '' if record['can_tell'] else '  no sensor is informative'
        place = f'{record["name"]} at {record["time_s"]:.1f} s'
        print(f'{record["rank"]:3d}. {place}  probability {record["probability"]:.2f}{caveat}')
        print(f'     {record["command"]}')
    print(f'pictures: {page}', file=sys.stderr)


def _warn(line: str) -> None:
    print(f'lb-ros teach: {line}', file=sys.stderr)
