"""Entry point of `python -m lb_ros.cli`."""

import sys

from lb_ros.cli.commands import run_program

if __name__ == '__main__':  # worker processes import this file again
    sys.exit(run_program())
