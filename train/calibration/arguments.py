"""Options of `lb-ros calibrate` for thresholds, and for the file that the robot loads."""

from __future__ import annotations

import argparse

from train.arguments import file, number, place, whole

METHODS = ('platt', 'isotonic', 'auto')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='write into the set of --model also where it was shipped, pulled or has a '
        'calibration; without, such a set is copied to runs/calibrated',
    )
    parser.add_argument(
        '--labels',
        type=file,
        nargs='+',
        metavar='FILE',
        help='CSV files of `lb-ros label`, in the place of ground truth; unclear stretches are '
        'left out',
    )
    group = parser.add_argument_group('decisions')
    group.add_argument('--out', type=place, metavar='FILE', help='write a predicates file')
    group.add_argument(
        '--predicates',
        type=file,
        metavar='FILE',
        help='take sentences and further predicates from this file; names as in the ground truth',
    )
    group.add_argument('--method', choices=METHODS, default='auto', help='of calibration')
    group.add_argument('--folds', type=whole(2), default=5, help='of cross-validation, over bags')
    cost = number(0, exclusive=True)
    group.add_argument(
        '--cost-false-positive', type=cost, default=1.0, metavar='COST', help='of a wrong TRUE'
    )
    group.add_argument(
        '--cost-false-negative', type=cost, default=1.0, metavar='COST', help='of a wrong FALSE'
    )
    group.add_argument('--probe', action='store_true', help='compare with a linear probe')
    group.add_argument('--report', type=place, metavar='FILE', help='write all fits as JSON')
