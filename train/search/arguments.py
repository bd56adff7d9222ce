"""The options of `lb-ros index` and `lb-ros search`."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from encoders.modalities import SENSED
from train.arguments import add_list, exists, model, number, place, there, whole
from train.score.arguments import add_reading_arguments

DEFAULT_MAX_RATE_HZ = 4.0
APART_S = 3.0
FOREVER_NS = 2**63 - 1  # stamps are int64
REREAD = 50  # moments that a query encodes again


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros index`."""
    parser.epilog = 'example: lb-ros index bags/ -o moments'
    parser.add_argument(
        'bags', type=there, nargs='+', metavar='BAG', help='bags or folders of them'
    )
    parser.add_argument(
        '-o', '--out', required=True, metavar='INDEX', help='folder; made or added to'
    )
    parser.add_argument('--json', action='store_true', help='print what was done as JSON')
    add_reading_arguments(parser)
    parser.set_defaults(max_rate_hz=DEFAULT_MAX_RATE_HZ)


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros search`."""
    parser.epilog = (
        'example: lb-ros search moments "the gripper dropped the cup" --modalities audio,depth; '
        'example: lb-ros search moments --like bags/kitchen@12.5s --modalities depth'
    )
    parser.add_argument('index', type=_index, metavar='INDEX', help='made by lb-ros index')
    parser.add_argument('sentence', nargs='?', metavar='SENTENCE', help='what should be the case')
    parser.add_argument('--like', metavar='BAG@12.5s', help='an example instead of a sentence')
    add_list(
        parser,
        '--from',
        dest='like_from',
        known=SENSED,
        about='compare with these sensors of the example; by default like with like',
    )
    add_list(
        parser,
        '--modalities',
        alias='--modality',
        known=SENSED,
        about=f'look in these; some of {", ".join(SENSED)}; all by default',
    )
    when = 'a time of their stamps, as 2026-11-30T14:05 (local, or with a zone) or in Unix seconds'
    parser.add_argument('--after', type=instant, metavar='TIME', help=f'only windows from {when}')
    parser.add_argument('--before', type=instant, metavar='TIME', help='only windows up to it')
    parser.add_argument('--top', type=whole(1), default=20, help='answers at most')
    parser.add_argument(
        '--apart', type=number(0), default=APART_S, help='seconds between answers of one bag'
    )
    parser.add_argument(
        '--reread',
        type=whole(0),
        default=REREAD,
        metavar='N',
        help='encode the N best moments again from their bags and order them by their tokens, '
        'if the model set has readouts',
    )
    parser.add_argument(
        '--fast', action='store_true', help='order by what the index stores, as --reread 0'
    )
    parser.add_argument('--model', type=model, help="model set; the index's own by default")
    parser.add_argument(
        '--thumbnails', type=place, help='folder for pictures and a page of the answers'
    )
    parser.add_argument('--json', action='store_true', help='print the answers as JSON')


def _index(text: str) -> str:
    if not exists(text) or not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f'{text}: no index; make one with: lb-ros index')
    return text


def instant(text: str) -> int:
    """Argument type for a time as nanoseconds since 1970: ISO 8601 or Unix seconds.

    Raises:
        argparse.ArgumentTypeError: The text is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(
                f'{text!r}: expected a time as 2026-11-30T14:05 or in Unix seconds'
            ) from None
    if not 0 <= seconds < 9.2e9:
        raise argparse.ArgumentTypeError(f'{text!r}: no time between 1970 and 2262')
    return round(seconds * 1e9)
