"""Start `camera_encoder` alone; the arguments are those of bringup.launch.py.

ros2 launch lb_ros camera_encoder.launch.py model:=lb-mini
"""

from launch.actions import IncludeLaunchDescription
from launch.substitutions import ThisLaunchFileDir

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One node of bringup.launch.py."""
    bringup = [ThisLaunchFileDir(), '/bringup.launch.py']
    nodes = {'nodes': 'camera_encoder'}
    return LaunchDescription([IncludeLaunchDescription(bringup, launch_arguments=nodes.items())])
