"""The MuJoCo model of one episode: the arm, a task's tool and workpiece, and their sensors.

The solver and contact parameters were chosen for forces without jumps: MuJoCo's default contacts
jump by 3 to 5 N and lose contact half of the time while a tool is pressed against a surface.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import mujoco
import numpy as np

from train.simulate.contact.panda import ARM_JOINTS, HAND, PAD_HEIGHT_M, arm_elements
from train.simulate.contact.poses import Vector, text
from train.simulate.world import PADS

STEP_S = 0.001
# Bits of `contype` and `conaffinity`: tools meet workpieces, pads meet what is gripped. Pads do
# not meet each other, so that force on both is always that of something between them.
WORK, GRIP = 1, 2
CONTACT = 'solref="0.01 1" solimp="0.01 0.95 0.001"'
SURFACE = f'contype="{WORK}" conaffinity="{WORK}" group="1" {CONTACT}'
OBJECT = f'contype="{WORK}" conaffinity="{WORK | GRIP}" {CONTACT}'
# Fixed layout of the first sensors; see `Parts`.
FORCE, TORQUE, ACCELERATION, RATE = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
LEFT, RIGHT, TOUCH, SLIDE, SLIP = 12, 13, 14, slice(15, 18), slice(18, 21)
SENSORS = 21
ALIGNED = '0.707107 0 0 0.707107'
CAMERA = 'scene'
# The gripper's drive couples its fingers, so that what it holds stays in the middle.
FINGERS = (
    '<joint joint1="finger_joint2" joint2="finger_joint1" polycoef="0 -1 0 0 0" '
    'solref="0.005 1" solimp="0.99 0.999 0.001"/>'
)
STIFF_PAD = {'friction': '1 0.02 0.001', 'condim': '1'}


@dataclass(frozen=True, slots=True)
class Parts:
    """MJCF text of a task.

    Attributes:
        tool: Bodies attached to the hand, in the frame of `tcp` (z along the tool).
        world: Bodies and geoms of the workpiece.
        assets, constraints: Contents of `<asset>` and `<equality>`.
        touch: Site whose body's contact forces are measured: what the tool touches.
        slide: Site whose velocity is that of the tool over what it touches.
        slip: Body that may slip between the pads, or '' for a tool that is fixed to the hand.
        pad: Attributes of the finger pads' geoms.
        iterations: Iterations of the solver.
    """

    tool: str
    world: str
    touch: str
    slide: str
    assets: str = ''
    constraints: str = ''
    slip: str = ''
    pad: tuple[tuple[str, str], ...] = tuple(STIFF_PAD.items())
    iterations: int = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Appearance of an episode: camera position and target, metres, angle of view, brightness."""

    eye: Vector
    target: Vector
    fovy_deg: float
    light: float
    ground: tuple[float, float, float]


def handle(radius_m: float, mass_kg: float, *, colour: str) -> str:
    """A grip shaped like a capsule between the pads, on which they press without moving it."""
    return (
        f'<body name="handle"><geom name="handle" type="capsule" size="{radius_m:.5f} 0.012" '
        f'mass="{mass_kg:.4f}" group="1" rgba="{colour} 1"/></body>'
    )


def compile_model(parts: Parts, look: Look, *, visible: bool, squeeze_n: float) -> mujoco.MjModel:
    """Compile the model of an episode.

    Args:
        parts: The task.
        look: The camera and colours.
        visible: Whether the arm's meshes are included, for rendering.
        squeeze_n: Largest force of each finger, newtons.
    """
    pad = {
        'contype': str(GRIP),
        'conaffinity': '0',
        'solref': '0.01 1',
        'solimp': '0.01 0.95 0.001',
        **dict(parts.pad),
    }
    assets, arm = arm_elements(visible=visible, pad=pad)
    hand = next(body for body in arm.iter('body') if body.get('name') == HAND)
    tool = f'<body name="tool" pos="0 0 {PAD_HEIGHT_M}" quat="{ALIGNED}">{parts.tool}</body>'
    hand.append(ElementTree.fromstring(tool))
    root = ElementTree.fromstring(_frame(parts, look, squeeze_n))
    _find(root, 'asset').extend(assets)
    # The arm comes first, so that its seven joints and two fingers are the first of the model.
    _find(root, 'worldbody').insert(0, arm)
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding='unicode'))


def _frame(parts: Parts, look: Look, squeeze_n: float) -> str:
    motors = ''.join(f'<motor joint="{name}" ctrlrange="-87 87"/>' for name in ARM_JOINTS)
    fingers = ''.join(
        f'<position joint="finger_joint{n}" kp="2000" forcerange="-{squeeze_n} {squeeze_n}"/>'
        for n in (1, 2)
    )
    slip = ''
    if parts.slip:
        slip = f'<framelinvel objtype="body" objname="{parts.slip}" reftype="site" refname="tcp"/>'
    ground = text(np.array(look.ground))
    return f"""<mujoco>
    <compiler angle="radian" autolimits="true"/>
    <option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"
        iterations="{parts.iterations}" ls_iterations="50"/>
    <visual>
        <headlight ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35" specular="0.1 0.1 0.1"/>
        <global offwidth="256" offheight="256"/><map znear="0.05" zfar="20"/>
    </visual>
    <statistic extent="1" center="0.5 0 0.2"/>
    <default><geom contype="0" conaffinity="0"/></default>
    <asset>{parts.assets}</asset>
    <worldbody>
        <light pos="0.4 -0.8 1.5" dir="0 0.5 -0.9" diffuse="{look.light} {look.light} {look.light}"
            castshadow="false"/>
        <geom name="floor" type="plane" size="3 3 0.1" group="1" rgba="{ground} 1"/>
        <camera name="{CAMERA}" pos="{text(look.eye)}" xyaxes="{text(_axes(look))}"
            fovy="{look.fovy_deg}"/>
        {parts.world}
    </worldbody>
    <actuator>{motors}{fingers}</actuator>
    <contact>{_grip(parts)}</contact>
    <equality>{FINGERS}{parts.constraints}</equality>
    <sensor>
        <force site="ft"/><torque site="ft"/><accelerometer site="imu"/><gyro site="imu"/>
        <touch site="leftfinger_touch"/><touch site="rightfinger_touch"/>
        <touch site="{parts.touch}"/>
        <framelinvel objtype="site" objname="{parts.slide}"/>
        {slip}
    </sensor></mujoco>"""


def _grip(parts: Parts) -> str:
    """Contacts of the pads with a handle; other contacts of parts of the hand are left out."""
    if 'handle' not in parts.tool:
        return ''
    return ''.join(f'<pair geom1="{pad}" geom2="handle" condim="1" {CONTACT}/>' for pad in PADS)


def _axes(look: Look) -> Vector:
    """Right and up direction of the camera."""
    back = look.eye - look.target
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    return np.concatenate([right, up / np.linalg.norm(up)])


def _find(root: Element, name: str) -> Element:
    found = root.find(name)
    assert found is not None
    return found
