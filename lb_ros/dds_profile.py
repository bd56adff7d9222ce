"""Shared-memory profile of Fast DDS for images, unless the user configures transports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from encoders.shipped import shipped

# Each process allocates its shared memory for messages, 64 or 16 MiB, in full when it starts.
FOR_IMAGES, FOR_THE_REST = 'config/dds_profile.xml', 'config/dds_profile_nodes.xml'

# Fast DDS 2 (Jazzy) reads the first variable, Fast DDS 3 the second.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# Fast DDS also reads this variable, which a profile overrides, and files in its working directory.
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
LOCAL_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')


def use_dds_profile(*, sends_images: bool = False) -> None:
    """Make Fast DDS use a shipped profile; call it before `rclpy.init`.

    Args:
        sends_images: Whether the process publishes whole images. Receiving them needs no space,
            since they stay in the memory of their publisher.
    """
    if is_fast_dds(os.environ) and not has_own_transports(os.environ):
        profile = str(shipped(FOR_IMAGES if sends_images else FOR_THE_REST))
        os.environ |= dict.fromkeys(VARIABLES, profile)


def is_fast_dds(environment: Mapping[str, str]) -> bool:
    """Return whether ROS uses Fast DDS, its default, in this environment."""
    return (environment.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp').startswith('rmw_fastrtps')


def has_own_transports(environment: Mapping[str, str]) -> bool:
    """Return whether the user has set Fast DDS profiles or transports, which ours would replace.

    A shipped profile, which launch files or the shell set for camera drivers, does not count.
    """
    chosen = {value for name in VARIABLES if (value := environment.get(name))}
    return (
        bool(environment.get(TRANSPORTS))
        or any(Path(name).is_file() for name in LOCAL_FILES)
        or not all(_is_shipped(Path(value)) for value in chosen)
    )


def _is_shipped(profile: Path) -> bool:
    # Compare contents: an installed package may hold a copy, or several links to one.
    ours = [shipped(name).read_bytes() for name in (FOR_IMAGES, FOR_THE_REST)]
    return profile.is_file() and profile.read_bytes() in ours
