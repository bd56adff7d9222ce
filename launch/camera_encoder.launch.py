"""Start the encoder that this file is named for, alone; the other encoders' files are links to it.

ros2 launch lb_ros camera_encoder.launch.py model:=lb-mini
ros2 launch lb_ros depth_encoder.launch.py
ros2 launch lb_ros infrared_encoder.launch.py
ros2 launch lb_ros microphone_encoder.launch.py
ros2 launch lb_ros touch_encoder.launch.py model:=runs/touch/lb-touch
ros2 launch lb_ros video_encoder.launch.py model:=languagebind-large
ros2 launch lb_ros wrench_encoder.launch.py model:=runs/contact/lb-contact
ros2 launch lb_ros joints_encoder.launch.py model:=runs/contact/lb-contact
ros2 launch lb_ros imu_encoder.launch.py model:=runs/contact/lb-contact
ros2 launch lb_ros signals_encoder.launch.py signals_channels:=channels.yaml

The arguments are those of bringup.launch.py.
"""

from pathlib import Path

from launch.actions import IncludeLaunchDescription

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One node of bringup.launch.py."""
    # A plain path, so that its arguments are listed by --show-args.
    bringup = str(Path(__file__).with_name('bringup.launch.py'))
    nodes = {'nodes': Path(__file__).name.removesuffix('.launch.py')}
    return LaunchDescription([IncludeLaunchDescription(bringup, launch_arguments=nodes.items())])
