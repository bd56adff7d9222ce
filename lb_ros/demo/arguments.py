"""Options of `lb-ros demo`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros demo`."""
    from train.arguments import model, place, there

    parser.epilog = 'example: lb-ros demo --text "the drawer is open" --text "the stove is hot"'
    parser.add_argument('--bag', type=there, help='bag to play; the bundled one by default')
    parser.add_argument('--model', type=model, default='lb-mini', help='model set')
    parser.add_argument(
        '--text',
        action='append',
        default=[],
        metavar='SENTENCE',
        help='score a sentence of your own as well; repeatable',
    )
    parser.add_argument('--headless', action='store_true', help='no live table')
    parser.add_argument('--report', type=place, help='write the summary as JSON')
    parser.add_argument(
        '--picture', type=place, help='write the live table at the end of the bag as SVG'
    )
