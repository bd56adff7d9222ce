"""Give Fast DDS room for images, unless the user has a profile of their own."""

from __future__ import annotations

import os

from encoders.shipped import shipped

# The first is read by Fast DDS 2 (Jazzy), the second by Fast DDS 3.
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def use_dds_profile() -> None:
    """Point Fast DDS at the shipped profile; call it before `rclpy.init`."""
    if any(os.environ.get(name) for name in VARIABLES):
        return
    for name in VARIABLES:
        os.environ[name] = str(shipped('config/dds_profile.xml'))
