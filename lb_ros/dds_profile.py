"""Give Fast DDS room for images, unless the user has transports of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from encoders.shipped import shipped

# The first is read by Fast DDS 2 (Jazzy), the second by Fast DDS 3.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# What Fast DDS reads besides: a profile replaces the former, and the latter lies where it runs.
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
LOCAL_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')


def use_dds_profile() -> None:
    """Point Fast DDS at the shipped profile; call it before `rclpy.init`."""
    if is_fast_dds(os.environ) and not has_own_transports(os.environ):
        for name in VARIABLES:
            os.environ[name] = str(shipped('config/dds_profile.xml'))


def is_fast_dds(environment: Mapping[str, str]) -> bool:
    """Whether ROS runs on Fast DDS there, its default."""
    return (environment.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp').startswith('rmw_fastrtps')


def has_own_transports(environment: Mapping[str, str]) -> bool:
    """Whether the user has chosen profiles or transports of Fast DDS, which ours would replace."""
    return any(environment.get(name) for name in (*VARIABLES, TRANSPORTS)) or any(
        Path(name).is_file() for name in LOCAL_FILES
    )
