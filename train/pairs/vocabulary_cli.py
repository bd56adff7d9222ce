"""`lb-ros train vocabulary`: the words and phrases of captions, balanced."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from encoders.atomic import write_atomically
from train.bags.find import find_bags, refuse_evaluation_bags
from train.pairs.options import WINDOWS_AT_TEXTS, PairOptions, PairsReport
from train.pairs.plan import plan_bag
from train.pairs.shards import is_pair_set, open_pair_set
from train.pairs.views import DERIVABLE
from train.pairs.vocabulary import (
    Entry,
    VocabularyOptions,
    balanced_entries,
    count_entries,
    load_tagger,
    read_captions,
)
from train.progress import counted

CAPTION_FILES = ('.txt', '.csv', '.json', '.jsonl')


def run(args: argparse.Namespace) -> int:
    """Write the vocabulary."""
    options = VocabularyOptions(
        size=args.size,
        kinds=tuple(args.kinds),
        min_count=args.min_count,
        min_letters=args.min_letters,
        max_words=args.max_words,
    )
    report = PairsReport()
    try:
        if args.out.exists() and not args.overwrite:
            raise ValueError(f'{args.out}: exists; give --overwrite to replace it')
        tagger = load_tagger(args.tagger)
        captions = list(_captions(args.sources, report))
        shown = counted(captions, 'tagging captions', total=len(captions))
        counts = count_entries(tagger, shown, options)
        entries = balanced_entries(counts, options)
        if not entries:
            raise ValueError(
                f'no entry occurs in {args.min_count} of {counts.captions.total()} captions'
            )
        write_atomically(args.out, _content(args.out, entries).encode())
    except (OSError, ValueError) as error:
        print(f'lb-ros train vocabulary: {error}', file=sys.stderr)
        return 2
    for line in report.problems:
        print(line, file=sys.stderr)
    found = {kind: sum(entry.kind == kind for entry in entries) for kind in options.kinds}
    listed = ', '.join(f'{kind} {count:,}' for kind, count in found.items())
    print(
        f'{args.out}: {len(entries):,} entries ({listed}) of {counts.captions.total():,} captions '
        f'of {len(counts.captions):,} sources'
    )
    return 0


def _captions(sources: Sequence[Path], report: PairsReport) -> Iterator[tuple[str, str]]:
    """Source and text of every caption."""
    for source in sources:
        if source.suffix in CAPTION_FILES:
            yield from ((source.name, text) for text in read_captions(source))
        elif is_pair_set(source):
            pairs = open_pair_set(source)
            for index in range(len(pairs)):
                yield from ((source.name, text.text) for text in pairs.outline(index).texts)
        else:
            bags = find_bags([source])
            refuse_evaluation_bags(bags)
            for bag in bags:
                yield from ((source.name, text) for text in _texts_of(bag, report))


def _texts_of(bag: Path, report: PairsReport) -> Iterator[str]:
    """What persons wrote in a bag."""
    windows, _ = plan_bag(bag, PairOptions(windows_at=WINDOWS_AT_TEXTS), sidecar=(), report=report)
    for window in windows:
        yield from (text.text for text in window.texts if text.source in DERIVABLE)


def _content(out: Path, entries: Sequence[Entry]) -> str:
    if out.suffix == '.json':
        described = [
            {'text': e.text, 'kind': e.kind, 'count': e.count, 'sources': dict(e.sources)}
            for e in entries
        ]
        return json.dumps(described, indent=2) + '\n'
    return ''.join(f'{entry.text}\n' for entry in entries)
