"""`lb-ros up`: all encoders and predicates in one process."""

from __future__ import annotations

import argparse

from lb_ros.start import start


def run(args: argparse.Namespace) -> int:
    """Run `bringup` in this process; does not return."""
    settings = list(args.parameters)
    settings += [f'model:={args.model}'] if args.model else []
    settings += [f'predicates:={args.predicates}'] if args.predicates else []
    words = ['--ros-args']
    words += ['--params-file', str(args.params_file)] if args.params_file else []
    start('bringup', [*words, *(word for setting in settings for word in ('-p', setting))])
