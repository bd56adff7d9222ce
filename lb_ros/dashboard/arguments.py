"""Options of `lb-ros dashboard`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros dashboard`."""
    from train.arguments import file, model, whole
    from train.score.arguments import add_topics_argument

    parser.epilog = (
        'example: lb-ros dashboard; example: lb-ros dashboard bags/kitchen@12.5s; '
        'example: lb-ros dashboard moments'
    )
    parser.add_argument(
        'source', nargs='?', metavar='BAG|BAG@12.5s|INDEX', help='the running robot by default'
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to serve on')
    parser.add_argument('--port', type=whole(0, 65535), default=8770, help='0 for any free one')
    parser.add_argument(
        '--model', type=model, help='model set; for an index its own, else lb-mini'
    )
    parser.add_argument('--predicates', type=file, help='YAML file; the shipped one by default')
    add_topics_argument(parser)
