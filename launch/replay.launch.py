"""Play a bag into the nodes with simulated time, at any rate, once or in a loop.

ros2 launch lb_ros replay.launch.py bag:=my_bag rate:=0.5 loop:=true

Without `bag` it plays the bundled bag. The other arguments are those of bringup.launch.py, with
use_sim_time:=true.
"""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch_ros.actions import Node

from encoders.shipped import shipped
from launch import LaunchContext, LaunchDescription
from lb_ros.launching import ARGUMENTS, plan


def generate_launch_description() -> LaunchDescription:
    """Declare bag, rate and loop, include bringup.launch.py, and play the bag."""
    # A plain path, so that --show-args lists its arguments.
    bringup = str(Path(__file__).with_name('bringup.launch.py'))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'bag',
                default_value=str(shipped('lb_ros/data/demo_bag')),
                description='bag folder or file; default: the bundled bag',
            ),
            DeclareLaunchArgument(
                'rate', default_value='1.0', description='playback rate; 1.0 is real time'
            ),
            DeclareLaunchArgument(
                'loop',
                default_value='false',
                description='start the bag again at its end',
                choices=['true', 'false'],
            ),
            IncludeLaunchDescription(bringup, launch_arguments={'use_sim_time': 'true'}.items()),
            OpaqueFunction(function=play),
        ]
    )


def play(context: LaunchContext) -> list[Node | RegisterEventHandler]:
    """The player. The launch ends when it ends."""
    values = context.launch_configurations
    loop = ['--loop'] if values['loop'] == 'true' else []
    # Nodes subscribe before they are active; the bag starts when they are active.
    known = {argument.name for argument in ARGUMENTS}
    nodes = plan({name: value for name, value in values.items() if name in known})
    listeners = [process.executable for process in nodes if process.executable != 'microphone']
    words = [values['bag'], '--clock', '--rate', values['rate'], *loop, '--after', *listeners]
    player = Node(
        package='lb_ros',
        executable='bag_player',
        namespace=values.get('namespace', ''),
        arguments=words,
        output='screen',
    )
    ended = OnProcessExit(
        target_action=player, on_exit=[EmitEvent(event=Shutdown(reason='the bag has ended'))]
    )
    return [player, RegisterEventHandler(ended)]
