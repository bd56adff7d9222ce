"""Start encoders and predicates, in one process on one trunk or in one process each.

ros2 launch lb_ros bringup.launch.py
ros2 launch lb_ros bringup.launch.py camera:=realsense infrared:=boson device:=cuda:0
ros2 launch lb_ros bringup.launch.py composed:=false namespace:=robot1 modalities:=depth,audio
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from lb_ros.dds_profile import VARIABLES
from lb_ros.launching import ARGUMENTS, params_file, plan, profile_to_set

RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments in `lb_ros.launching.ARGUMENTS` and start the nodes."""
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[SetEnvironmentVariable | Node]:
    """The environment and the nodes for the given arguments."""
    values = {
        argument.name: context.launch_configurations[argument.name] for argument in ARGUMENTS
    }
    profile = profile_to_set(values['dds_profile'], context.environment)
    nodes = [
        Node(
            package='lb_ros',
            executable=process.executable,
            namespace=values['namespace'],
            parameters=[str(params_file(values)), process.parameters],
            ros_arguments=['--log-level', values['log_level']],
            respawn=values['respawn'] == 'true',
            respawn_delay=RESPAWN_DELAY_S,
            output='screen',
        )
        for process in plan(values)
    ]
    return [*(SetEnvironmentVariable(name, profile) for name in VARIABLES if profile), *nodes]
