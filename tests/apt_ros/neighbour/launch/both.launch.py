"""The nodes of lb_ros, and one of another package after them."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Includes bringup.launch.py."""
    file = Path(get_package_share_directory('lb_ros')) / 'launch' / 'bringup.launch.py'
    included = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(file)))
    return LaunchDescription(
        [included, Node(package='neighbour', executable='node', output='screen')]
    )
