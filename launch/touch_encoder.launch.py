"""Start `touch_encoder` alone, with the arguments of bringup.launch.py.

ros2 launch lb_ros touch_encoder.launch.py model:=runs/touch/lb-touch
"""

from pathlib import Path

from launch.actions import IncludeLaunchDescription

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Include bringup.launch.py with one node."""
    # A plain path, so that --show-args lists its arguments.
    bringup = str(Path(__file__).with_name('bringup.launch.py'))
    nodes = {'nodes': 'touch_encoder'}
    return LaunchDescription([IncludeLaunchDescription(bringup, launch_arguments=nodes.items())])
