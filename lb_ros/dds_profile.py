"""Give Fast DDS room for images, unless the user has transports of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from encoders.shipped import shipped

# Memory that a process shares its messages in, 64 or 16 MiB, is taken in full when it starts.
FOR_IMAGES, FOR_THE_REST = 'config/dds_profile.xml', 'config/dds_profile_nodes.xml'

# The first is read by Fast DDS 2 (Jazzy), the second by Fast DDS 3.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# What Fast DDS reads besides: a profile replaces the former, and the latter lies where it runs.
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
LOCAL_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')


def use_dds_profile(*, sends_images: bool = False) -> None:
    """Point Fast DDS at a shipped profile; call it before `rclpy.init`.

    Args:
        sends_images: Whether the process publishes whole images. To receive them takes no room,
            since they stay in the memory of their publisher.
    """
    if is_fast_dds(os.environ) and not has_own_transports(os.environ):
        profile = str(shipped(FOR_IMAGES if sends_images else FOR_THE_REST))
        os.environ |= dict.fromkeys(VARIABLES, profile)


def is_fast_dds(environment: Mapping[str, str]) -> bool:
    """Whether ROS runs on Fast DDS there, its default."""
    return (environment.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp').startswith('rmw_fastrtps')


def has_own_transports(environment: Mapping[str, str]) -> bool:
    """Whether the user has chosen profiles or transports of Fast DDS, which ours would replace.

    A shipped profile, which camera drivers are given by launch files or the shell, is no choice.
    """
    chosen = {value for name in VARIABLES if (value := environment.get(name))}
    return (
        bool(environment.get(TRANSPORTS))
        or any(Path(name).is_file() for name in LOCAL_FILES)
        or not all(_is_shipped(Path(value)) for value in chosen)
    )


def _is_shipped(profile: Path) -> bool:
    # By content: an installed package may have a copy, or several links to one.
    ours = [shipped(name).read_bytes() for name in (FOR_IMAGES, FOR_THE_REST)]
    return profile.is_file() and profile.read_bytes() in ours
