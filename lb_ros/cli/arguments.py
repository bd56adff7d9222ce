"""Options of the subcommands for running nodes; `--help` imports nothing else."""

from __future__ import annotations

import argparse
import math

from encoders.modalities import LIVE, SERIES

STATES = ('unknown', 'false', 'true')


def add_up_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros up`."""
    from train.arguments import file, model

    parser.epilog = 'example: lb-ros up modalities:=depth,touch depth_inputs:=[/zed/depth]'
    parser.add_argument(
        'parameters',
        nargs='*',
        type=_setting,
        metavar='PARAMETER:=VALUE',
        help='any parameter of bringup; see --params-file',
    )
    parser.add_argument('--params-file', type=file, help='as config/parameters.yaml')
    parser.add_argument('--model', type=model, help='model set; lb-mini by default')
    parser.add_argument('--predicates', type=file, help='YAML file; the shipped one by default')


def _setting(text: str) -> str:
    if ':=' not in text:
        raise argparse.ArgumentTypeError(f'{text!r}: expected PARAMETER:=VALUE')
    return text


def add_query_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros query`."""
    from train.arguments import add_list, number

    parser.epilog = 'example: lb-ros query "the drawer is open" "the stove is hot"'
    parser.add_argument('texts', nargs='+', type=_sentence, metavar='SENTENCE', help='a statement')
    add_list(
        parser,
        '--modalities',
        alias='--modality',
        known=LIVE,
        parts=True,
        about=f'ask only these; some of {", ".join(LIVE)}, or parts of their view '
        f'(depth@gripper); all but parts by default',
    )
    parser.add_argument(
        '--max-age-ms', type=number(0, exclusive=True), default=1000.0, help='of the evidence'
    )
    parser.add_argument(
        '--ago', type=number(0), default=0.0, metavar='SECONDS', help='ask about a past moment'
    )
    parser.add_argument(
        '--timeout',
        type=number(0, exclusive=True),
        default=5.0,
        metavar='SECONDS',
        help='how long to wait for the nodes',
    )
    _add_common(parser)


def add_wait_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros wait`."""
    from train.arguments import number

    parser.epilog = (
        'example: lb-ros wait drawer_open --timeout 10 && echo open. Exit status: 0 the state was '
        'reached, 1 it was not or nobody answered, 2 unusable input.'
    )
    parser.add_argument('names', nargs='+', metavar='NAME', help='predicate; see lb-ros list')
    parser.add_argument('--state', choices=STATES, default='true', help='to wait for')
    parser.add_argument(
        '--timeout',
        type=number(0),
        default=30.0,
        metavar='SECONDS',
        help="of the nodes' clock; 0 for no limit",
    )
    parser.add_argument(
        '--any', action='store_true', help='one of several predicates; default: all together'
    )
    parser.add_argument(
        '--change', action='store_true', help='a state that is already there does not count'
    )
    _add_common(parser)


def add_add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros add`."""
    parser.epilog = 'example: lb-ros add "the stove is hot" --name stove_hot'
    parser.add_argument(
        'sentences', nargs='+', type=_sentence, metavar='SENTENCE', help='a statement'
    )
    parser.add_argument('--name', help='of the predicate; the sentence by default')
    _add_common(parser)


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros list`."""
    parser.epilog = 'example: lb-ros list --json'
    _add_common(parser)


def add_tare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros tare`."""
    parser.epilog = 'example: lb-ros tare wrench. Nothing may touch the sensor, and it must rest.'
    parser.add_argument(
        'sensors', nargs='+', choices=SERIES, metavar='SENSOR', help=', '.join(SERIES)
    )
    _add_common(parser)


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros watch`."""
    from train.arguments import number

    parser.epilog = 'example: lb-ros watch'
    parser.add_argument('--seconds', type=number(0), default=math.inf, help='stop after this long')
    _add_common(parser, 'one JSON object per evaluation')


def _sentence(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError('a sentence must not be empty')
    return text


def _add_common(parser: argparse.ArgumentParser, json_help: str = 'print as JSON') -> None:
    from train.arguments import namespace

    parser.add_argument('--namespace', type=namespace, default='', help='of the nodes')
    parser.add_argument('--json', action='store_true', help=json_help)
