"""The options of `lb-ros train vocabulary`."""

from __future__ import annotations

import argparse

from train.arguments import place, there, whole
from train.pairs.vocabulary import DEFAULT_TAGGER, KINDS

EPILOG = """example: lb-ros train vocabulary captions.json bags/ --size 2000 --out vocabulary.txt

Sources are captions (.txt with one a line, .csv, .json, .jsonl), sets of pairs, and bags, of which
the task, annotation and note topics are read. FILE has one entry a line, as `lb-ros train pairs
--vocabulary` reads it; a FILE that ends with .json has kinds and counts as well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument(
        'sources', type=there, nargs='+', metavar='SOURCE', help='captions, sets of pairs, bags'
    )
    parser.add_argument(
        '--size', type=whole(1), required=True, metavar='N', help='entries at most'
    )
    parser.add_argument('--out', type=place, required=True, metavar='FILE', help='the vocabulary')
    parser.add_argument(
        '--kinds',
        nargs='+',
        choices=KINDS,
        default=KINDS,
        metavar='KIND',
        help=f'of {", ".join(KINDS)}; each gets an equal share (default: all)',
    )
    parser.add_argument(
        '--min-count', type=whole(1), default=2, metavar='N', help='captions with an entry'
    )
    parser.add_argument(
        '--min-letters', type=whole(1), default=3, metavar='N', help='letters of a word'
    )
    parser.add_argument(
        '--max-words', type=whole(2), default=4, metavar='N', help='words of a noun phrase'
    )
    parser.add_argument(
        '--tagger',
        default=DEFAULT_TAGGER,
        metavar='NAME',
        help=f'pipeline of spaCy, by name or folder (default: {DEFAULT_TAGGER})',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the file in --out')
