"""Robot logs from simulators: scripted motion, synthetic infrared and sound, truth."""

import os
from ctypes.util import find_library

# MuJoCo reads these once, when it is first imported. Both render in software, without a display or
# a GPU; OSMesa is quieter at exit, EGL is there on more machines.
os.environ.setdefault('MUJOCO_GL', 'osmesa' if find_library('OSMesa') else 'egl')
os.environ.setdefault('PYOPENGL_PLATFORM', os.environ['MUJOCO_GL'])
