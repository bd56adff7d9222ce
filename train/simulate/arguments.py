"""The options of `lb-ros sim`."""

from __future__ import annotations

import argparse
import os

from train.arguments import add_list, number, place, whole
from train.simulate.suites import ALL_SUITES

EXAMPLE = 'example: lb-ros sim --suite libero_spatial --episodes 4 --out bags/'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros sim`."""
    parser.epilog = EXAMPLE
    positive = number(0, exclusive=True)
    add_list(
        parser,
        '--suite',
        known=ALL_SUITES,
        noun='suite',
        required=True,
        metavar='SUITE[,SUITE]',
        about=f'some of {", ".join(ALL_SUITES)}',
    )
    parser.add_argument('--scene', help='only scenes whose name contains this')
    parser.add_argument(
        '--episodes', type=whole(1), default=4, help='per suite, spread over its scenes'
    )
    parser.add_argument('--out', type=place, required=True, help='folder for the bags')
    parser.add_argument('--seed', type=whole(0), default=0, help='of the first episode')
    parser.add_argument('--workers', type=whole(1), default=os.cpu_count() or 1, help='processes')
    parser.add_argument(
        '--profile',
        choices=('live', 'train'),
        default='live',
        help='live: continuous motion at --rate; train: independent moments 2 s apart',
    )
    parser.add_argument('--duration', type=positive, default=30.0, help='seconds per episode')
    parser.add_argument(
        '--rate', type=positive, default=10.0, help='camera frames per second (live)'
    )
    parser.add_argument(
        '--randomize', action='store_true', help='jitter the camera and the lights'
    )
    parser.add_argument(
        '--exchange-objects',
        action='store_true',
        help='other objects in every episode (LIBERO training suites only)',
    )
    parser.add_argument(
        '--exchange-furniture',
        action='store_true',
        help='other furniture and objects in every episode, on the same table (LIBERO training '
        'suites only)',
    )
    parser.add_argument(
        '--touch',
        action='store_true',
        help='also what the finger pads feel, as a synthetic tactile image (not MetaWorld; '
        'contact suites always have it)',
    )
    parser.add_argument(
        '--no-pictures',
        action='store_true',
        help='neither camera, depth nor touch images (contact suites only): much faster',
    )
    parser.add_argument('--json', action='store_true', help='print a summary as JSON')
