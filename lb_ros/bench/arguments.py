"""Options of `lb-ros bench`, in a separate module so that `--help` does not import PyTorch."""

from __future__ import annotations

import argparse

from encoders.vision.choices import COMPILATIONS, PRECISIONS

RANDOM = 'random:vit-l-14'
SUITE_NAMES = (
    'engine',
    'memory',
    'preprocessing',
    'text',
    'scoring',
    'messages',
    'end_to_end',
    'idle',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros bench`."""
    from train.arguments import device, file, place, whole

    parser.epilog = (
        'example: lb-ros bench engine --model lb-mini --out results; '
        'lb-ros bench --compare before.json after.json'
    )
    parser.add_argument(
        'suites',
        nargs='*',
        type=_suite,
        metavar='SUITE',
        help=f'some of {", ".join(SUITE_NAMES)}; all by default',
    )
    parser.add_argument(
        '--model',
        default='lb-mini',
        help=f'model set, or {RANDOM} for random weights, {RANDOM}:4 for its first 4 layers',
    )
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='of the encoders')
    parser.add_argument(
        '--repeats', type=whole(1), default=15, help='interleaved runs of every case'
    )
    parser.add_argument(
        '--threads', type=whole(1), help='of the encoders; as many as cores by default'
    )
    parser.add_argument('--device', type=device, default='cpu', help='torch device of the engine')
    parser.add_argument(
        '--batch', type=whole(1), default=1, help='samples per modality of the engine'
    )
    parser.add_argument(
        '--compilation',
        choices=COMPILATIONS,
        default='auto',
        help='of the engine: also the call as nodes make it ready; auto: on a GPU',
    )
    parser.add_argument('--out', type=place, help='folder for NAME.json and NAME.csv')
    parser.add_argument('--name', default='bench', help='of the files')
    parser.add_argument('--json', action='store_true', help='print as JSON')
    parser.add_argument(
        '--compare', nargs=2, type=file, metavar=('A', 'B'), help='two result files instead'
    )


def _suite(text: str) -> str:
    if text not in SUITE_NAMES:
        expected = ', '.join(SUITE_NAMES)
        raise argparse.ArgumentTypeError(f'unknown suite {text!r}, expected some of {expected}')
    return text
