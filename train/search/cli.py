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
    add_reading_arguments,
    follow,
    load_binder,
    progress_bar,
    reason_of,
    sources_of,
)
from train.score.embed import BagSource, Embeddings, embed_bag
from train.score.windows import SensorTopics
from train.search.find import APART_S, Moment, example_at, find_like, find_sentence
from train.search.index import DEFAULT_MAX_RATE_HZ, IndexedBag, index_bag
from train.search.page import play_command, replay_command, write_results_page, write_thumbnails
from train.search.store import About, MomentStore


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros index`."""
    parser.epilog = 'example: lb-ros index bags/ -o moments'
    parser.add_argument(
        'bags', type=Path, nargs='+', metavar='BAG', help='bags or folders of them'
    )
    parser.add_argument('-o', '--out', required=True, metavar='INDEX', help='made or added to')
    parser.add_argument('--json', action='store_true', help='print what was done as JSON')
    add_reading_arguments(parser)
    parser.set_defaults(max_rate_hz=DEFAULT_MAX_RATE_HZ)


def run_index(args: argparse.Namespace) -> int:
    """Index bags; 0 done, 2 unusable input, also of one bag while the others are indexed.

    Bags that an interrupted run finished stay.
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
                except BagError as error:  # the other bags are indexed
                    failed += 1
                    print(f'lb-ros index: {error}', file=sys.stderr)
                    continue
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


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros search`."""
    parser.epilog = (
        'example: lb-ros search moments "the gripper dropped the cup" --modality audio,depth; '
        'example: lb-ros search moments --like bags/kitchen@12.5s --modality depth'
    )
    parser.add_argument('index', metavar='INDEX', help='made by lb-ros index')
    parser.add_argument('sentence', nargs='?', metavar='SENTENCE', help='what should be the case')
    parser.add_argument('--like', metavar='BAG@12.5s', help='an example instead of a sentence')
    parser.add_argument(
        '--from',
        dest='like_from',
        metavar='MODALITY,...',
        help='compare with these sensors of the example; by default like with like',
    )
    parser.add_argument('--modality', metavar='MODALITY,...', help='look in these; all by default')
    parser.add_argument('--top', type=int, default=20, help='answers at most')
    parser.add_argument(
        '--apart', type=float, default=APART_S, help='seconds between answers of one bag'
    )
    parser.add_argument('--model', help="model set; the index's own by default")
    parser.add_argument(
        '--thumbnails', type=Path, help='folder for pictures and a page of the answers'
    )
    parser.add_argument('--json', action='store_true', help='print the answers as JSON')


def run_search(args: argparse.Namespace) -> int:
    """Search an index; 0 with answers, 1 without, 2 for unusable input."""
    try:
        if (args.sentence is None) == (args.like is None):
            raise ValueError('give either a sentence or --like BAG@12.5s')
        if args.top < 1 or args.apart < 0:
            raise ValueError('--top must be at least 1 and --apart at least 0')
        modalities, like = _modalities(args.modality), _modalities(args.like_from)
        store = MomentStore(args.index)
        moments = _find(args, store, modalities or SENSED, like)
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
            store, binder, args.sentence, modalities=modalities, top=args.top, apart_s=args.apart
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


def _modalities(words: str | None) -> tuple[str, ...]:
    found = tuple(word.strip() for word in (words or '').split(',') if word.strip())
    for word in found:
        if word not in SENSED:
            raise ValueError(f'unknown modality {word!r}, expected some of {", ".join(SENSED)}')
    return found


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
        print(f'{rank:3d}. {moment.score:.2f}  {name} at {moment.time_s:.1f} s  ({cosines})')
        print(f'     {replay_command(moment)}')
