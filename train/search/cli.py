"""`lb-ros index` and `lb-ros search`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from encoders import SENSED, Binder
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
from train.score.embed import BagSource, Embeddings, embed_bag
from train.score.windows import SensorTopics
from train.search.arguments import DEFAULT_MAX_RATE_HZ
from train.search.find import find_sentence
from train.search.index import IndexedBag, index_bag
from train.search.like import example_at, find_like
from train.search.moment import Moment
from train.search.page import play_command, replay_command, write_results_page, write_thumbnails
from train.search.store import About, MomentStore


def run_index(args: argparse.Namespace) -> int:
    """Index bags; return 0 on success, 2 if any input is unusable; the other bags are indexed.

    Bags that an interrupted run finished are kept.
    """
    try:
        bags = find_bags(args.bags)
        binder = load_binder(args)
        dimensions = binder.embed_text(['the dimensions of this space']).shape[1]
        is_new = not Path(args.out).exists()
        store = MomentStore(args.out, About(binder.space, binder.model, dimensions))
        store.check_space(binder.space)
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
                            binder, source, store, work=work, report=report, progress=progress
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
    if args.sentence is not None:
        binder = Binder.load(args.model or store.about.model)
        return find_sentence(
            store,
            binder,
            args.sentence,
            modalities=modalities,
            top=args.top,
            apart_s=args.apart,
            reread_count=0 if args.fast else args.reread,
            problem=lambda line: print(f'lb-ros search: {line}', file=sys.stderr),
        )

    def embed(bag: Path) -> tuple[Embeddings, int]:
        binder = Binder.load(args.model or store.about.model)
        store.check_space(binder.space)
        sensed = tuple(m for m in SENSED if m in binder.modalities)
        source = BagSource(bag, SensorTopics(), sensed, DEFAULT_MAX_RATE_HZ)
        span = bag_span_ns(bag)
        with tempfile.TemporaryDirectory() as folder:
            found = embed_bag(binder, source, store=Path(folder) / 'e', report=BagReport(bag))
        return found, span[0] if span else int(found.log_ns.min(initial=0))

    example = example_at(store, args.like, embed=embed)
    return find_like(
        store, example, modalities=modalities, top=args.top, like=like, apart_s=args.apart
    )


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
    for rank, moment in enumerate(moments, start=1):
        cosines = ', '.join(f'{m} {value:.2f}' for m, value in moment.cosines.items())
        name = Path(moment.bag).name
        caveat = '  not calibrated' if moment.calibrated is False else ''
        print(
            f'{rank:3d}. {moment.score:.2f}  {name} at {moment.time_s:.1f} s  ({cosines}){caveat}'
        )
        print(f'     {replay_command(moment)}')
