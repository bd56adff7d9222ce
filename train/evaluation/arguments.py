"""The options of `lb-ros eval` on data sets of the literature and on language pairs."""

from __future__ import annotations

import argparse

from train.arguments import file

SUITES = ('llvip', 'nyu-d', 'esc50', 'clotho', 'msrvtt')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--suite', choices=SUITES, help="a protocol on one's own copy in --data")
    parser.add_argument('--templates', type=file, help='YAML of prompt templates for --suite')
