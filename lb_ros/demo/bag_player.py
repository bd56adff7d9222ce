"""The command `bag_player`. It checks its arguments before it imports ROS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lb_ros.ros_arguments import RosArguments, read_arguments
from lb_ros.stopping import interrupt_on_stop

DESCRIPTION = 'Play a bag as a robot would publish it: same bytes, same pace, present time.'
EXAMPLE = 'example: ros2 run lb_ros bag_player my_bag --rate 0.5 --loop'


def main() -> int:
    """Play a bag; print a JSON report as the last line.

    Returns:
        0 the bag was played, 2 unusable input, 130 stopped before the end: by a signal, or because
        the terminal or pipe of its output closed. With `--loop` a stop is the normal end: 0.
    """
    try:
        interrupt_on_stop()
        try:
            ros = read_arguments('bag_player', sys.argv[1:])
        except ValueError as error:
            print(f'bag player: {error}', file=sys.stderr)
            return 2
        args = _parser().parse_args(ros.others)
        return _play(args, ros)
    except KeyboardInterrupt:
        return 0 if '--loop' in sys.argv else 130


def _play(args: argparse.Namespace, ros: RosArguments) -> int:
    from lb_ros.demo.player import run

    return run(args, ros)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('bag_player', description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument('bag', type=Path, help='bag folder or file')
    parser.add_argument('--wait', type=float, default=180.0, help='seconds to await subscribers')
    parser.add_argument(
        '--after', nargs='+', default=[], metavar='NODE', help='await until these are active'
    )
    parser.add_argument(
        '--optional', nargs='+', default=[], metavar='TOPIC', help='topics without a subscriber'
    )
    parser.add_argument('--rate', type=float, default=1.0, help='2 for twice as fast')
    parser.add_argument('--loop', action='store_true', help='begin again at the end')
    parser.add_argument(
        '--clock', action='store_true', help="publish the bag's time on /clock, keep its stamps"
    )
    return parser


if __name__ == '__main__':
    raise SystemExit(main())
