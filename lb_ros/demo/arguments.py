"""Options of `lb-ros demo`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from encoders.shipped import shipped

BUNDLED = {'kitchen': 'lb_ros/data/demo_bag', 'contact': 'lb_ros/data/contact_bag'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros demo`."""
    from train.arguments import model, place

    parser.epilog = 'example: lb-ros demo --text "the drawer is open" --text "the stove is hot"'
    parser.add_argument(
        '--bag',
        type=bag,
        default='kitchen',
        help=f'bag to play, or one of the bundled ones: {", ".join(BUNDLED)} (default: kitchen)',
    )
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


def bag(text: str) -> Path:
    """The path of a bag, which may be given by the name of a bundled one.

    Raises:
        argparse.ArgumentTypeError: There is no such bag.
    """
    from train.arguments import there

    return shipped(BUNDLED[text]) if text in BUNDLED else there(text)
