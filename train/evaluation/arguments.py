"""The options of `lb-ros eval`, and those of all commands that read labelled bags."""

from __future__ import annotations

import argparse
from pathlib import Path

from train.arguments import file, model, place, there, whole

DEFAULT_CACHE = Path('runs/cache')
SUITES = ('llvip', 'nyu-d', 'esc50', 'clotho', 'msrvtt')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = 'example: lb-ros eval --model lb-mini --data bags/eval --report report.json'
    parser.add_argument(
        '--model',
        type=model,
        default='lb-mini',
        help='model set, folder of a released checkpoint, or MODALITY=FOLDER,MODALITY=FOLDER',
    )
    parser.add_argument(
        '--data',
        type=there,
        nargs='+',
        required=True,
        help='bags with ground truth, a folder of pairs, or the data of --suite',
    )
    parser.add_argument('--report', type=place, help='write all results as JSON')
    parser.add_argument('--json', action='store_true', help='print them as JSON')
    parser.add_argument(
        '--phrasings',
        nargs='+',
        default=[],
        metavar='FILE',
        help='also ask predicates of bags in these wordings: files, or names of shipped ones',
    )
    parser.add_argument(
        '--predicates',
        type=file,
        help='evaluate the predicates of this YAML file instead, by their text and as taught',
    )
    parser.add_argument(
        '--taught',
        type=file,
        help='what was taught (lb-ros teach); the file next to --predicates by default',
    )
    parser.add_argument('--suite', choices=SUITES, help="a protocol on one's own copy in --data")
    parser.add_argument('--templates', type=file, help='YAML of prompt templates for --suite')
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the options for reading labelled bags."""
    parser.add_argument('--workers', type=whole(1), default=2, help='processes that read bags')
    parser.add_argument('--threads', type=whole(1), default=2, help='threads that compute')
    parser.add_argument('--cache', type=place, default=DEFAULT_CACHE, help='extracted inputs')
