"""Continuous motion of a scripted robot that opens, picks, places, drops, closes and switches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from train.simulate.scene import Joint, Thing, Vector
from train.simulate.shots import (
    arrange,
    free_spot,
    reachable_places,
    shut_sounds,
    spot_at,
)
from train.simulate.world import Heat, SoundEvent, World

ABOVE_M = 0.16
CRUISE_M = 0.24
CARRIED_SLIP_M_S = (0.015, 0.03)


def routine(world: World, *, tick_s: float) -> Iterator[None]:
    """Perform an endless sequence of actions; yield after every `tick_s` of motion.

    The scene starts with everything closed and cold, so that the first changes are visible.
    """
    _begin(world)
    last = ''
    while True:
        action = _choose(world, last)
        last = action
        yield from _perform(world, action, tick_s)


def _begin(world: World) -> None:
    arrange(world)
    world.held = None
    for joint in world.scene.joints.values():
        world.set_joint(joint, 0.0)
    world.heat = Heat()
    for thing in world.scene.things:
        world.place(thing, free_spot(world, thing.radius_m, _others(world, thing)))
    world.settle(0.5)
    world.sounds.clear()
    world.events.clear()
    world.now_s = 0.0


def _others(world: World, thing: Thing) -> list[tuple[float, float, float]]:
    positions = [(world.scene.data.xpos[t.body], t) for t in world.scene.things]
    return [(p[0], p[1], t.radius_m) for p, t in positions if t.name != thing.name]


def _choose(world: World, last: str) -> str:
    kinds = {j.kind for j in world.scene.joints.values()}
    actions = ['place', 'drop', 'table']
    actions += ['slide', 'slide'] if kinds & {'drawer', 'door'} else []
    actions += ['knob'] if 'knob' in kinds else []
    return str(world.rng.choice([a for a in actions if a != last or a == 'slide']))


def _perform(world: World, action: str, tick_s: float) -> Iterator[None]:
    if action == 'slide':
        yield from _slide(world, tick_s)
    elif action == 'knob':
        yield from _switch(world, tick_s)
    else:
        yield from _carry(world, action, tick_s)


def _glide(world: World, goal: Vector, seconds: float, tick_s: float) -> Iterator[None]:
    """Move the grip to a point by interpolation in joint space, slow at both ends."""
    start, target = world.arm.copy(), world.solve_arm(goal)
    count = max(1, round(seconds / tick_s))
    world.sounds.append(SoundEvent('motor', world.now_s, 0.6, count * tick_s))
    for index in range(count):
        share = 0.5 - 0.5 * np.cos(np.pi * (index + 1) / count)
        world.step(tick_s, arm=start + share * (target - start))
        yield


def _pause(world: World, seconds: float, tick_s: float) -> Iterator[None]:
    for _ in range(max(1, round(seconds / tick_s))):
        world.step(tick_s)
        yield


def _carry(world: World, action: str, tick_s: float) -> Iterator[None]:
    scene, rng = world.scene, world.rng
    thing = scene.things[rng.integers(len(scene.things))]
    top = np.array(scene.data.xpos[thing.body]) + np.array([0.0, 0.0, thing.top_m - 0.015])
    side = max(0.0, thing.radius_m - 0.03)  # wide things are grasped at the rim
    grip = top + np.array([-side, 0.0, 0.0])
    up = np.array([0.0, 0.0, 1.0])
    world.set_fingers(0.04)
    yield from _glide(world, grip + ABOVE_M * up, 1.2, tick_s)
    yield from _glide(world, grip, 0.7, tick_s)
    world.grasp(thing)
    yield from _pause(world, 0.3, tick_s)
    yield from _glide(world, grip + CRUISE_M * up, 0.8, tick_s)
    target = _target(world, action, thing)
    if world.touch_rng is not None and world.held is not None and world.touch_rng.random() < 0.5:
        world.held.slip_m_s = np.array([0.0, 0.0, -world.touch_rng.uniform(*CARRIED_SLIP_M_S)])
    offset = world.grip - world.scene.data.xpos[thing.body] - np.array([0, 0, thing.bottom_m])
    yield from _glide(world, target + offset + CRUISE_M * up, 1.4, tick_s)
    if action != 'drop':
        yield from _glide(world, target + offset + 0.01 * up, 0.8, tick_s)
    world.release()
    yield from _pause(world, 0.6 if action != 'drop' else 1.0, tick_s)
    yield from _glide(world, target + offset + CRUISE_M * up, 0.8, tick_s)


def _target(world: World, action: str, thing: Thing) -> Vector:
    places = reachable_places(world, thing)
    if action == 'place' and places:
        return spot_at(world, places[world.rng.integers(len(places))], thing)
    return free_spot(world, thing.radius_m, _others(world, thing))


def _slide(world: World, tick_s: float) -> Iterator[None]:
    scene, rng = world.scene, world.rng
    joints = [j for j in scene.joints.values() if j.kind in ('drawer', 'door')]
    joint = joints[rng.integers(len(joints))]
    is_open = scene.joint_position(joint) > 0.5
    goal = 0.0 if is_open else 1.0
    seconds = float(rng.uniform(0.3, 0.9) if is_open else rng.uniform(0.8, 1.5))
    front = _front(world, joint)
    yield from _glide(world, front, 1.2, tick_s)
    count = max(1, round(seconds / tick_s))
    start = scene.joint_position(joint)
    travel = _travel(world, joint) * (goal - start)
    arm_from, arm_to = world.arm.copy(), world.solve_arm(front + travel)
    begun_s = world.now_s
    if joint.kind == 'drawer' and not is_open:
        world.sounds.append(SoundEvent('slide', begun_s, 0.5, seconds))
    if is_open:
        shut_sounds(world, joint, begun_s + count * tick_s, seconds)
    for index in range(count):
        share = (index + 1) / count
        arm = arm_from + share * (arm_to - arm_from)
        world.step(tick_s, arm=arm, slide=(joint, start + share * (goal - start)))
        yield
    yield from _pause(world, 0.3, tick_s)
    yield from _glide(world, world.grip + np.array([-0.05, 0.0, 0.2]), 0.8, tick_s)


def _travel(world: World, joint: Joint) -> Vector:
    """Displacement of a drawer's front from closed to open; 0 for a door, which is only pushed."""
    if joint.kind != 'drawer':
        return np.zeros(3)
    model, data = world.scene.model, world.scene.data
    index = int(model.dof_jntid[joint.dof])
    return np.array(data.xaxis[index]) * (joint.opened - joint.closed)


def _front(world: World, joint: Joint) -> Vector:
    scene = world.scene
    body = int(scene.model.jnt_bodyid[int(scene.model.dof_jntid[joint.dof])])
    low, high = scene.bounds(body)
    middle = (low + high) / 2
    travel = _travel(world, joint)
    if np.linalg.norm(travel) < 1e-6:
        return np.array([middle[0], middle[1], high[2] + 0.08])
    outward = travel / np.linalg.norm(travel)
    depth = abs(float(np.dot(high - low, outward))) / 2
    return middle + outward * (depth + 0.03)


def _switch(world: World, tick_s: float) -> Iterator[None]:
    scene = world.scene
    joint = next(j for j in scene.joints.values() if j.kind == 'knob')
    body = int(scene.model.jnt_bodyid[int(scene.model.dof_jntid[joint.dof])])
    low, high = scene.bounds(body)
    knob = np.array([*((low + high) / 2)[:2], high[2] + 0.02])
    yield from _glide(world, knob + np.array([0, 0, 0.12]), 1.2, tick_s)
    yield from _glide(world, knob, 0.5, tick_s)
    goal = 0.0 if world.stove_is_on() else 0.9
    world.sounds.append(SoundEvent('click', world.now_s + 0.3, 1.0))
    count = max(1, round(0.5 / tick_s))
    start = scene.joint_position(joint)
    for index in range(count):
        world.step(tick_s, slide=(joint, start + (index + 1) / count * (goal - start)))
        yield
    yield from _glide(world, knob + np.array([-0.05, 0, 0.2]), 0.8, tick_s)
