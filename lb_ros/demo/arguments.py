"""The options of `lb-ros demo`, apart from what runs it: `--help` imports no PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros demo`."""
    parser.epilog = 'example: lb-ros demo --text "the drawer is open" --text "the stove is hot"'
    parser.add_argument('--bag', type=Path, help='bag to play; the bundled one by default')
    parser.add_argument('--model', default='lb-mini', help='model set')
    parser.add_argument(
        '--text',
        action='append',
        default=[],
        metavar='SENTENCE',
        help='score a sentence of your own as well; repeatable',
    )
    parser.add_argument('--headless', action='store_true', help='no live table')
    parser.add_argument('--report', type=Path, help='write the summary as JSON')
    parser.add_argument(
        '--picture', type=Path, help='write the live table at the end of the bag as SVG'
    )
