"""Start `infrared_encoder` alone; the arguments are those of bringup.launch.py.

ros2 launch lb_ros infrared_encoder.launch.py model:=lb-mini
"""

from pathlib import Path

from launch.actions import IncludeLaunchDescription

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One node of bringup.launch.py."""
    # A plain path, so that its arguments are listed by --show-args.
    bringup = str(Path(__file__).with_name('bringup.launch.py'))
    nodes = {'nodes': 'infrared_encoder'}
    return LaunchDescription([IncludeLaunchDescription(bringup, launch_arguments=nodes.items())])
