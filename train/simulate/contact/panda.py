"""The arm of the contact suite: robosuite's Panda model with its gripper, as MJCF elements.

Kinematics, masses and inertias of the arm are those of the installed robosuite (MIT License). The
inertias of its gripper are placeholders (0.09 kg m^2 for 0.3 kg), so each of its parts has the
inertia of a solid box of the same mass with the bounds of its mesh.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from xml.etree.ElementTree import Element

from train.simulate.world import PADS

ARM_JOINTS = tuple(f'joint{n}' for n in range(1, 8))
FINGER_JOINTS = ('finger_joint1', 'finger_joint2')
HAND = 'right_gripper'
TCP = 'tcp'
PAD_HEIGHT_M = 0.0934  # of the pads' centre, from the flange of the gripper
PAD_GAP_M = 0.0005  # a pad's surface is this much nearer to the centre than its joint position
FINGER_TRAVEL_M = 0.04
HAND_BOX_M = (0.063, 0.204, 0.092)  # bounds of robosuite's hand.stl and finger.stl
FINGER_BOX_M = (0.021, 0.026, 0.054)
# The hand's opening direction is y in the frame of the arm's flange; robosuite turns its gripper.
ALIGNED = '0.707107 0 0 0.707107'
JOINT_DAMPING = 0.1
JOINT_ARMATURE = 0.1
FINGER_DAMPING = 10.0
FINGER_ARMATURE = 0.1
ROBOT_PARTS = {
    **dict.fromkeys(('base', 'link', 'right_hand'), 'robot arm'),
    **dict.fromkeys((HAND, 'leftfinger', 'rightfinger', 'finger_joint'), 'gripper'),
}
WARM_PARTS_K = {'link': 7.0, 'right_gripper': 4.0}


def arm_elements(*, visible: bool, pad: dict[str, str]) -> tuple[list[Element], Element]:
    """Build the arm with its gripper.

    Args:
        visible: Whether to include the meshes that are rendered. They have no mass and touch
            nothing, so that physics is the same without them.
        pad: Attributes of the two finger pads: friction and contact parameters.

    Returns:
        Elements for `<asset>`, and the arm's root body. The hand has the sites `ft` (wrist),
        `imu` (z up when the hand points down) and `tcp` (between the pads, y is the opening).

    Raises:
        ModuleNotFoundError: robosuite is not installed; the message names the command.
    """
    robot, gripper = (_parse(name) for name in ('robots/panda/robot', 'grippers/panda_gripper'))
    root = _body(robot, 'base')
    hand = _body(gripper, HAND)
    _body(robot, 'right_hand').append(hand)
    for parent in list(root.iter('body')):
        for child in list(parent):
            if child.tag in ('camera', 'site') or not _is_kept(child, visible=visible):
                parent.remove(child)
    for joint in root.iter('joint'):
        is_finger = joint.get('name') in FINGER_JOINTS
        joint.attrib.pop('frictionloss', None)
        joint.set('damping', str(FINGER_DAMPING if is_finger else JOINT_DAMPING))
        joint.set('armature', str(FINGER_ARMATURE if is_finger else JOINT_ARMATURE))
    _set_gripper(hand, pad)
    assets = [*_assets(robot, 'robots/panda'), *_assets(gripper, 'grippers')] if visible else []
    return assets, root


def _set_gripper(hand: Element, pad: dict[str, str]) -> None:
    _set_box_inertia(hand, HAND_BOX_M, at=(0.0, 0.0, 0.02))
    sides = ((1.0, 'leftfinger', PADS[0]), (-1.0, 'rightfinger', PADS[1]))
    for side, name, pad_name in sides:
        finger = _body(hand, name)
        _set_box_inertia(finger, FINGER_BOX_M, at=(0.0, 0.013 * side, 0.027))
        tip = next(iter(finger.findall('body')))
        _set_box_inertia(tip, (0.016, 0.008, 0.016), at=(0.0, -0.005 * side, -0.015))
        geom = next(g for g in tip.findall('geom') if _is_pad(g))
        geom.attrib.pop('solref', None)
        geom.attrib.update(pad, group='0', name=pad_name)
        tip.append(Element('site', name=f'{name}_touch', type='sphere', size='1'))
    hand.append(Element('site', name='ft'))
    hand.append(Element('site', name='imu', pos='0 0 0.05', quat='0 1 0 0'))
    hand.append(Element('site', name=TCP, pos=f'0 0 {PAD_HEIGHT_M}', quat=ALIGNED))


def _set_box_inertia(
    body: Element, box_m: tuple[float, float, float], *, at: tuple[float, float, float]
) -> None:
    inertial = body.find('inertial')
    assert inertial is not None
    x, y, z = box_m
    mass = float(inertial.get('mass', '0'))
    diagonal = (mass / 12 * (b * b + c * c) for b, c in ((y, z), (x, z), (x, y)))
    inertial.attrib.clear()
    inertial.attrib.update(
        mass=str(mass),
        pos=' '.join(map(str, at)),
        diaginertia=' '.join(f'{value:.3e}' for value in diagonal),
    )


def _is_kept(element: Element, *, visible: bool) -> bool:
    """Whether an element is a pad, an image of the arm that is wanted, or no shape at all."""
    if element.tag != 'geom':
        return True
    return _is_pad(element) or (visible and element.get('group') == '1')


def _is_pad(geom: Element) -> bool:
    return geom.get('name', '').endswith('_pad_collision')


def _assets(model: Element, folder: str) -> list[Element]:
    """Meshes and materials that are rendered, with absolute file names."""
    drawn = {geom.get('mesh') for geom in model.iter('geom') if geom.get('group') == '1'}
    found = []
    for asset in model.iter('asset'):
        for child in asset:
            if child.tag == 'mesh' and child.get('name') not in drawn:
                continue
            if child.tag == 'mesh':
                child.set('file', str(_folder() / folder / child.get('file', '')))
            found.append(child)
    return found


def _body(model: Element, name: str) -> Element:
    return next(body for body in model.iter('body') if body.get('name') == name)


def _parse(name: str) -> Element:
    return ElementTree.fromstring(_text(name))


@lru_cache(maxsize=2)
def _text(name: str) -> str:
    return (_folder() / f'{name}.xml').read_text()


@lru_cache(maxsize=1)
def _folder() -> Path:
    found = find_spec('robosuite')  # its import takes seconds and prints warnings
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError('the simulator is not installed; run `make sim`')
    return Path(found.submodule_search_locations[0]) / 'models' / 'assets'
