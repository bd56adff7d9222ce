"""Start the encoders and predicates: one process on one trunk, or one process each.

ros2 launch lb_ros bringup.launch.py
ros2 launch lb_ros bringup.launch.py composed:=false namespace:=robot1
"""

from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

ENCODERS = ('camera_encoder', 'depth_encoder', 'infrared_encoder', 'microphone_encoder')


def generate_launch_description() -> LaunchDescription:
    """Arguments: composed, model, predicates, namespace, parameters."""
    share = FindPackageShare('lb_ros')
    arguments = [
        DeclareLaunchArgument('composed', default_value='true', description='one process for all'),
        DeclareLaunchArgument('model', default_value='lb-mini', description='model set'),
        DeclareLaunchArgument('namespace', default_value='', description='of all nodes'),
        DeclareLaunchArgument(
            'predicates',
            default_value=PathJoinSubstitution([share, 'config', 'predicates.yaml']),
            description='YAML file with predicates',
        ),
        DeclareLaunchArgument(
            'parameters',
            default_value=PathJoinSubstitution([share, 'config', 'parameters.yaml']),
            description='YAML file with parameters of all nodes',
        ),
    ]
    composed = LaunchConfiguration('composed')
    common = {
        'package': 'lb_ros',
        'namespace': LaunchConfiguration('namespace'),
        'output': 'screen',
        'parameters': [
            LaunchConfiguration('parameters'),
            {
                'model': LaunchConfiguration('model'),
                'predicates': LaunchConfiguration('predicates'),
            },
        ],
    }
    together = Node(executable='bringup', condition=IfCondition(composed), **common)
    apart = [
        Node(executable=name, condition=UnlessCondition(composed), **common)
        for name in (*ENCODERS, 'predicates')
    ]
    return LaunchDescription([*arguments, together, *apart])
