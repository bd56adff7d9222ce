"""Play the bundled bag into the nodes in a loop, to try them without sensors.

ros2 launch lb_ros demo.launch.py

The arguments are those of replay.launch.py, with loop:=true.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo

from launch import LaunchDescription

NEXT = (
    'The bag plays once the nodes are active. Ask them in another terminal, with this workspace '
    'sourced: lb-ros watch, or lb-ros query "the drawer is open". Ctrl-C ends the demonstration.'
)


def generate_launch_description() -> LaunchDescription:
    """`replay.launch.py` with its default bag, in a loop."""
    # A plain path, so that --show-args lists its arguments.
    replay = str(Path(__file__).with_name('replay.launch.py'))
    return LaunchDescription(
        [
            # The first declaration counts: replay.launch.py declares it with another default.
            DeclareLaunchArgument(
                'loop',
                default_value='true',
                description='start the bag again at its end',
                choices=['true', 'false'],
            ),
            LogInfo(msg=NEXT),
            IncludeLaunchDescription(replay),
        ]
    )
