"""Robot logs from simulators: scripted motion, synthetic infrared and audio, ground truth."""

import os
from ctypes.util import find_library

# MuJoCo reads these once, on import. Both back ends render in software, without a display or GPU;
# OSMesa prints fewer messages at exit, EGL is available on more machines.
os.environ.setdefault('MUJOCO_GL', 'osmesa' if find_library('OSMesa') else 'egl')
os.environ.setdefault('PYOPENGL_PLATFORM', os.environ['MUJOCO_GL'])
