"""Robot logs from simulators: scripted motion, synthetic infrared and sound, truth."""

import os

# MuJoCo reads these once, when it is first imported; software rendering needs no display and no
# GPU.
os.environ.setdefault('MUJOCO_GL', 'osmesa')
os.environ.setdefault('PYOPENGL_PLATFORM', os.environ['MUJOCO_GL'])
