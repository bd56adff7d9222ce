"""The command `lb-ros`. Importing it, or running an offline subcommand, needs no ROS."""

from lb_ros.cli.commands import main, run_program

__all__ = ['main', 'run_program']
