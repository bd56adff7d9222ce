"""Named parts of a scene and their geoms: objects, furniture, drawers, doors, the gripper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from train.simulate.names import noun
from train.simulate.stage import StageScene

ROBOT_PARTS = {'robot0': 'robot arm', 'gripper0': 'gripper', 'mount0': 'robot arm'}


def name_geoms(
    scene: StageScene, robot_parts: Mapping[str, str]
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Return the names of the parts of a scene, and the part that every geom belongs to.

    Args:
        scene: The scene.
        robot_parts: Names of the robot's parts, by prefix of the body's name.

    Returns:
        `P` names, and uint8 `[G + 1]`: 0 for the room, otherwise 1 + index of the name. The last
        entry is for no geom (index -1). Parts with the same name share a number.
    """
    model = scene.model
    body_names = [''] * model.nbody
    for body in range(model.nbody):
        name = model.body(body).name
        known = (part for start, part in robot_parts.items() if name.startswith(start))
        body_names[body] = next(known, '')
    roots = {body: noun(name) for name, body in scene.fixture_bodies().items()}
    roots |= {thing.body: thing.noun for thing in (*scene.things, *scene.furniture)}
    roots |= {int(model.dof_bodyid[joint.dof]): joint.noun for joint in scene.joints.values()}
    for body in range(model.nbody):  # parents precede their children
        parent = int(model.body_parentid[body])
        body_names[body] = roots.get(body) or body_names[body] or body_names[parent]
    names = tuple(sorted(set(body_names) - {''}))
    number = {'': 0, **{name: index + 1 for index, name in enumerate(names)}}
    of_body = np.array([number[name] for name in body_names], np.uint8)
    return names, np.append(of_body[model.geom_bodyid], np.uint8(0))
