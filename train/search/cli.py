"""`lb-ros index` and `lb-ros search`."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from encoders import SENSED, Binder, ModelSetError
from encoders.model_sets.places import find_set
from encoders.model_sets.readouts import describe_readouts
from train.bags.find import find_bags
from train.bags.folder import BagError, bag_span_ns
from train.bags.reader import BagReport
from train.score.cli import (
    ERRORS,
    fill,
    follow,
    load_binder,
    progress_bar,
    reason_of,
    sources_of,
)
from train.score.embed import BagSource, embed_bag
from train.score.parts import Embeddings
from train.score.windows import SensorTopics
from train.search.arguments import DEFAULT_MAX_RATE_HZ, FOREVER_NS
from train.search.find import find_sentence
from train.search.index import IndexedBag, about_for, facts_of, index_bag
from train.search.like import example_at, find_like
from train.search.moment import Moment
from train.search.page import play_command, replay_command, write_results_page, write_thumbnails
from train.search.reread import Rereading
from train.search.store import MomentStore


def run_index(args: argparse.Namespace) -> int:
    """Index bags; return 0 on success, 2 if any input is unusable; the other bags are indexed.

    Bags that an interrupted run finished are kept.
    """
    try:
        bags = find_bags(args.bags)
        binder = load_binder(args)
        is_new = not Path(args.out).exists()
        store = MomentStore(args.out, about_for(binder))
        store.check_space(binder.space)
        facts = facts_of(store, binder)
        done: list[IndexedBag] = []
        failed = 0
        with progress_bar() as bar:
            for source in sources_of(args, bags, binder):
                report = BagReport(source.path)
                progress = follow(bar, source)
                work = Path(args.out)
                try:
                    done.append(
                        index_bag(
                            binder,
                            source,
                            store,
                            work=work,
                            report=report,
                            facts=facts,
                            progress=progress,
                        )
                    )
                except BagError as error:  # the other bags are still indexed
                    failed += 1
                    print(f'lb-ros index: {error}', file=sys.stderr)
                    continue
                fill(bar)
                for line in report.problems:
                    print(f'lb-ros index: {line}', file=sys.stderr)
        if not done:
            if is_new:
                shutil.rmtree(args.out, ignore_errors=True)
            return 2
        store.optimise()
    except ERRORS as error:
        print(f'lb-ros index: {reason_of(error)}', file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({'moments': len(store), 'bags': [asdict(b) for b in done]}, indent=2))
        return 2 if failed else 0
    known = sum(bag.known for bag in done)
    print(f'{args.out}: {len(store)} moments; {len(done) - known} bags added, {known} known')
    return 2 if failed else 0


def run_search(args: argparse.Namespace) -> int:
    """Search an index; return 0 with answers, 1 without, 2 for unusable input."""
    try:
        if (args.sentence is None) == (args.like is None):
            raise ValueError('give either a sentence or --like BAG@12.5s')
        store = MomentStore(args.index)
        if (args.after, args.before) != (None, None):
            store = store.during(
                args.after or 0, FOREVER_NS if args.before is None else args.before
            )
        moments = _find(args, store, args.modalities or SENSED, args.like_from)
        default = Path(args.index) / 'shown'
        folder = args.thumbnails or default
        files = write_thumbnails(store, moments, folder)
        title = args.sentence if args.sentence is not None else f'like {args.like}'
        write_results_page(title, moments, files, folder / 'index.html')
    except ERRORS as error:
        print(f'lb-ros search: {reason_of(error)}', file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(_records(moments, files), indent=2))
    else:
        _print(moments)
        print(f'pictures: {folder / "index.html"}', file=sys.stderr)
    return 0 if moments else 1


def _find(
    args: argparse.Namespace, store: MomentStore, modalities: Sequence[str], like: Sequence[str]
) -> list[Moment]:
    model = args.model or store.about.model
    count = 0 if args.fast else args.reread
    binder = _with_readouts(model) if count else None
    if args.sentence is not None:
        with _rereading(count if binder else 0) as again:
            return find_sentence(
                store,
                binder or Binder.load(model),
                args.sentence,
                modalities=modalities,
                top=args.top,
                apart_s=args.apart,
                again=again,
            )

    def embed(bag: Path) -> tuple[Embeddings, int]:
        embedder = binder or Binder.load(model)
        store.check_space(embedder.space)
        source = BagSource.of(
            bag, embedder, topics=SensorTopics(), max_rate_hz=DEFAULT_MAX_RATE_HZ
        )
        span = bag_span_ns(bag)
        with tempfile.TemporaryDirectory() as folder:
            found = embed_bag(embedder, source, store=Path(folder) / 'e', report=BagReport(bag))
        return found, span[0] if span else int(found.log_ns.min(initial=0))

    example = example_at(store, args.like, embed=embed)
    with _rereading(count if binder else 0) as again:
        return find_like(
            store,
            example,
            modalities=modalities,
            top=args.top,
            like=like,
            apart_s=args.apart,
            binder=binder,
            again=again,
        )


@contextlib.contextmanager
def _rereading(count: int) -> Iterator[Rereading]:
    """Moments to encode again, with a bar on standard error that disappears at the end."""

    def warn(line: str) -> None:
        print(f'lb-ros search: {line}', file=sys.stderr)

    if not count:
        yield Rereading(0, warn)
        return
    columns = (TextColumn('{task.description}'), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('encoding moments again', total=1.0)
        yield Rereading(count, warn, lambda share: bar.update(task, completed=share))


def _with_readouts(model: str) -> Binder | None:
    """The model set, if it has readouts; other sets are not loaded, which takes seconds.

    It computes in the precision of the live nodes, which is faster.
    """
    try:
        described = describe_readouts(find_set(model))
    except ModelSetError:  # a set without a folder, or one that is gone
        return None
    return None if described is None else Binder.load(model, dtype='auto')


def _records(
    moments: Sequence[Moment], files: Sequence[dict[str, str]]
) -> list[dict[str, object]]:
    return [
        asdict(moment)
        | {
            'rank': rank,
            'thumbnails': shown,
            'replay': replay_command(moment),
            'ros2_bag_play': play_command(moment),
        }
        for rank, (moment, shown) in enumerate(zip(moments, files, strict=True), start=1)
    ]


def _print(moments: Sequence[Moment]) -> None:
    by_tokens = any(moment.read_from == 'tokens' for moment in moments)
    for rank, moment in enumerate(moments, start=1):
        cosines = ', '.join(f'{m} {value:.2f}' for m, value in moment.cosines.items())
        name = Path(moment.bag).name
        caveats = ['not calibrated'] if moment.calibrated is False else []
        if by_tokens and moment.read_from != 'tokens':
            caveats.append(f'ordered by its {moment.read_from}')
        place = f'{name} at {moment.time_s:.1f} s'
        print('  '.join((f'{rank:3d}. {moment.score:.2f}', place, f'({cosines})', *caveats)))
        print(f'     {replay_command(moment)}')
