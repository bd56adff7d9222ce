"""Options of `lb-ros label`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros label`."""
    from train.arguments import file, model, place, whole
    from train.score.arguments import add_topics_argument

    parser.epilog = (
        'example: lb-ros label bags/kitchen drawer_open "the lid is screwed on"; '
        'example: lb-ros label bags/kitchen --show'
    )
    parser.add_argument('bag', metavar='BAG', help='bag folder or file; BAG@12.5s begins there')
    parser.add_argument(
        'names',
        nargs='*',
        metavar='PREDICATE',
        help='names of predicates, or sentences; all of --predicates where not given',
    )
    parser.add_argument(
        '--labels',
        type=place,
        metavar='FILE',
        help='CSV file, which may hold other bags; by default BAG.labels.csv next to the bag',
    )
    parser.add_argument(
        '--show', action='store_true', help='print the labels and check them, without a page'
    )
    parser.add_argument('--json', action='store_true', help='with --show: print JSON')
    parser.add_argument(
        '--no-scores',
        action='store_true',
        help='show sensors only, so that no score suggests an answer, and nothing is encoded',
    )
    parser.add_argument('--predicates', type=file, help='YAML file; the shipped one by default')
    parser.add_argument('--model', type=model, default='lb-mini', help='model set; %(default)s')
    add_topics_argument(parser)
    parser.add_argument('--host', default='127.0.0.1', help='address to serve on')
    parser.add_argument('--port', type=whole(0, 65535), default=8770, help='0 for any free one')
