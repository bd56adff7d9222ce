"""Options of `lb-ros teach`, and the choice between bags and a running robot."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from lb_ros.interpreter import check_distribution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros teach`."""
    from train.arguments import file, namespace, number, place, there, whole
    from train.score.arguments import add_reading_arguments

    parser.epilog = (
        'example: lb-ros teach "the lid is screwed on"; '
        'example: lb-ros teach --data bags/ --labels labels.csv --predicates mine.yaml; '
        'example: lb-ros teach "the lid is screwed on" --suggest bags/'
    )
    parser.add_argument(
        'sentence', nargs='?', help='a statement, or the name of a predicate of a running robot'
    )
    parser.add_argument('--json', action='store_true', help='print results of bags as JSON')
    live = parser.add_argument_group('a running robot')
    live.add_argument('--namespace', type=namespace, default='', help='of the nodes')
    live.add_argument(
        '--seconds',
        type=number(0),
        default=0.0,
        help='a key labels this long before it, as one press; 0 for a moment',
    )
    live.add_argument('--export', type=place, metavar='FILE', help='write what was taught')
    live.add_argument(
        '--import', dest='import_file', type=file, metavar='FILE', help='add an exported file'
    )
    bags = parser.add_argument_group('bags')
    bags.add_argument(
        '--data', type=there, nargs='+', metavar='BAG', help='labelled bags, or folders of them'
    )
    bags.add_argument(
        '--labels',
        default='ground_truth',
        metavar='FILE',
        help='CSV file with the columns bag, predicate, start_s, end_s, truth; by default the '
        'ground truth of the bags',
    )
    bags.add_argument('--predicates', type=file, help='YAML file; the shipped one by default')
    bags.add_argument(
        '-o',
        '--out',
        type=place,
        metavar='FILE',
        help='what was taught is added to this file; by default next to the predicates file, or '
        'predicates.taught.safetensors',
    )
    bags.add_argument(
        '--suggest',
        type=there,
        nargs='+',
        metavar='BAG',
        help='bags, or folders of them: which moments to label next, with pictures',
    )
    bags.add_argument(
        '--count', type=whole(1), default=20, help='number of suggested moments; %(default)s'
    )
    bags.add_argument(
        '--page',
        type=place,
        default=Path('suggested'),
        metavar='FOLDER',
        help='folder for the page and pictures of suggested moments; %(default)s',
    )
    add_reading_arguments(bags)


def run(args: argparse.Namespace) -> int:
    """Teach from bags or to a robot; return the exit status."""
    if args.data:
        from train.teaching.cli import run as run_bags

        return run_bags(args)
    if args.suggest:
        from train.teaching.suggest_cli import run as run_suggest

        return run_suggest(args)
    check_distribution('lb-ros teach')
    if not all(importlib.util.find_spec(name) for name in ('rclpy', 'lb_ros.msg')):
        print(
            'lb-ros teach: a running robot needs ROS 2: source a ROS 2 Jazzy with lb_ros built, '
            'or run `make setup`; bags need only --data or --suggest',
            file=sys.stderr,
        )
        return 2
    from lb_ros.cli.teach import run as run_live

    return run_live(args)
