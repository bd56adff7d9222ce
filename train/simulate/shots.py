"""Training shots: every frame shows a new arrangement, with the two seconds of audio before it.

Neighbouring frames of a robot log are almost identical. Training learns more from a thousand
arrangements seen once than from ten arrangements seen a hundred times.
"""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

from train.simulate.scene import Joint, Place, Thing, Vector
from train.simulate.sound import DISTRACTORS
from train.simulate.stage import StageWorld
from train.simulate.world import AMBIENT_K, COIL_ON_K, PLATE_ON_K, Heat, SoundEvent, World

SHOT_S = 2.0
REACH_X_M = (-0.20, 0.18)
REACH_Y_M = (-0.27, 0.27)
DRAWER_RADIUS_M = 0.08
SLIP_M_S = (0.015, 0.08)


def shots(world: World, count: int) -> Iterator[None]:
    """Arrange the world `count` times; yield after each, so that the caller records it."""
    for index in range(count):
        start_s = index * SHOT_S
        world.now_s = start_s
        _quiet(world)
        kind = world.rng.choice(['still', 'shut', 'drop', 'slide'], p=[0.52, 0.18, 0.20, 0.10])
        arrange(world, must_hold=kind == 'drop')
        if kind == 'drop' and world.held is not None:
            _drop(world, start_s)
        elif kind == 'shut':
            _shut(world, start_s)
        elif kind == 'slide':
            _slide(world, start_s)
        if world.touch_rng is not None:
            _hold_or_slip(world, world.touch_rng)
        world.now_s = start_s + SHOT_S
        background_sounds(world, start_s, SHOT_S)
        yield


def arrange(world: World, *, must_hold: bool = False) -> None:
    """Draw a new state of everything: joints, heat, positions of things, arm, held thing."""
    rng, scene = world.rng, world.scene
    world.held = None
    world.clear_falling()
    world.set_arm(world.solve_arm(_above(world, 0.4)))
    all_closed = rng.random() < 0.25
    for joint in scene.joints.values():
        opening = _draw_opening(rng, joint)
        is_shut = all_closed and joint.kind != 'knob'
        world.set_joint(joint, rng.uniform(0.0, 0.04) if is_shut else opening)
    world.heat = _draw_heat(rng, world.stove_is_on())
    mujoco.mj_forward(scene.model, scene.data)
    held, holds = None, 0.42 if world.touch_rng is None else 0.8
    if scene.things and (must_hold or rng.random() < holds):
        held = scene.things[rng.integers(len(scene.things))]
    _scatter(world, held)
    world.settle(0.25)
    _pose_arm(world, held, high=must_hold)


def free_spot(world: World, radius_m: float, taken: list[tuple[float, float, float]]) -> Vector:
    """Draw a point on the table away from furniture and from things already placed."""
    rng, scene = world.rng, world.scene
    boxes = furniture_boxes(world)
    for _ in range(60):
        x = scene.centre[0] + rng.uniform(*REACH_X_M)
        y = scene.centre[1] + rng.uniform(*REACH_Y_M)
        clear = all(np.hypot(x - a, y - b) > radius_m + r + 0.01 for a, b, r in taken)
        outside = all(
            not (
                low[0] - radius_m < x < high[0] + radius_m
                and low[1] - radius_m < y < high[1] + radius_m
            )
            for low, high in boxes
        )
        if clear and outside and scene.sees(np.array([x, y, scene.table_z_m])):
            break
    return np.array([x, y, scene.table_z_m + 0.004])


def furniture_boxes(world: World) -> list[tuple[Vector, Vector]]:
    """Corners of all furniture in its current state, including drawers and doors."""
    scene = world.scene
    bodies = [*scene.fixture_bodies().values(), *(t.body for t in scene.furniture)]
    return [scene.bounds(body) for body in bodies]


def spot_at(world: World, place: Place, thing: Thing) -> Vector:
    """Draw a point from which a thing comes to rest in or on a place."""
    scene, rng = world.scene, world.rng
    shift = np.array([*rng.uniform(-0.015, 0.015, 2), 0.0])
    if place.is_site:
        site = np.array(scene.env.sim.data.get_site_xpos(place.state_name))
        lift = 0.01 if place.relation == 'on' else -0.01
        return np.asarray(site + shift + np.array([0.0, 0.0, lift]))
    support = next(t for t in scene.things if t.name == place.state_name)
    top = scene.data.xpos[support.body] + np.array([0.0, 0.0, support.top_m + 0.005])
    return np.asarray(top + 0.5 * shift)


def reachable_places(world: World, thing: Thing) -> list[Place]:
    """List the places that are open and large enough for a thing."""
    scene = world.scene
    found = []
    for place in scene.places:
        if place.state_name == thing.name:
            continue
        if place.joint is not None:
            if scene.joint_position(scene.joints[place.joint]) < 0.6:
                continue
            if scene.joints[place.joint].kind == 'drawer' and thing.radius_m > DRAWER_RADIUS_M:
                continue
        found.append(place)
    return found


def background_sounds(world: StageWorld, start_s: float, duration_s: float) -> None:
    """Add sounds of the room and machines that are unrelated to any event."""
    rng = world.rng
    for _ in range(rng.poisson(0.5 * duration_s)):
        kind = str(rng.choice(DISTRACTORS))
        at_s, length_s = start_s + rng.uniform(0, duration_s), rng.uniform(0.3, 1.2)
        world.sounds.append(SoundEvent(kind, at_s, rng.uniform(0.1, 1.0), length_s))
    if rng.random() < 0.5:
        length_s = rng.uniform(0.3, 1.5)
        at_s = start_s + rng.uniform(0, max(duration_s - length_s, 0.01))
        world.sounds.append(SoundEvent('motor', at_s, rng.uniform(0.1, 1.0), length_s))
    names = [t.name for t in world.scene.things]
    if rng.random() < 0.15 and names:  # a thing is put down gently
        name = str(rng.choice(names))
        at_s = start_s + rng.uniform(0, duration_s)
        world.sounds.append(SoundEvent('impact', at_s, rng.uniform(0.02, 0.12), source=name))
    if world.stove_is_on():
        world.sounds.append(SoundEvent('hum', start_s, rng.uniform(0.5, 1.0), duration_s))


def _hold_or_slip(world: World, rng: np.random.Generator) -> None:
    if world.held is not None and rng.random() < 0.5:
        world.held.slip_m_s = rng.uniform(*SLIP_M_S) * np.array([0.0, 0.0, -1.0])
    world.settle(0.02)


def _quiet(world: World) -> None:
    world.sounds.clear()
    world.events.clear()


def _above(world: World, height_m: float) -> Vector:
    x, y = world.scene.centre
    return np.array([x - 0.2, y, world.scene.table_z_m + height_m])


def _draw_opening(rng: np.random.Generator, joint: Joint) -> float:
    if joint.kind == 'knob':
        return float(rng.choice([0.0, rng.uniform(0.4, 1.0)]))
    which = rng.random()
    if which < 0.52:
        return float(rng.uniform(0.0, 0.04))
    return float(rng.uniform(0.9, 1.0) if which < 0.88 else rng.uniform(0.1, 0.88))


def _draw_heat(rng: np.random.Generator, is_on: bool) -> Heat:
    warm_k = rng.uniform(340, PLATE_ON_K)
    cool_k = AMBIENT_K + rng.exponential(6.0)
    plate_k = float(warm_k if rng.random() < 0.5 else cool_k)
    heat = Heat(plate_k, plate_k)
    if is_on:
        heat.coil_k = plate_k + (COIL_ON_K - plate_k) * rng.uniform(0.5, 1.0)
    return heat


def _scatter(world: World, held: Thing | None) -> None:
    """Put every thing except the held one on the table or in a place; supports first."""
    rng, scene = world.rng, world.scene
    supports = {place.state_name for place in scene.places if not place.is_site}
    order = sorted(scene.things, key=lambda t: (t.name not in supports, t.name))
    taken: list[tuple[float, float, float]] = []
    crowded: set[str] = set()
    for thing in order:
        if held is not None and thing.name == held.name:
            continue
        places = [p for p in reachable_places(world, thing) if p.state_name not in crowded]
        yaw = float(rng.uniform(-np.pi, np.pi))
        if places and rng.random() < 0.6:
            place = places[rng.integers(len(places))]
            if held is None or place.state_name != held.name:
                world.place(thing, spot_at(world, place, thing), yaw=yaw)
                crowded.add(place.state_name)
                mujoco.mj_forward(scene.model, scene.data)
                continue
        spot = free_spot(world, thing.radius_m, taken)
        taken.append((spot[0], spot[1], thing.radius_m))
        world.place(thing, spot, yaw=yaw)
        mujoco.mj_forward(scene.model, scene.data)
    if held is not None:  # away from the things that settle, until it is attached
        world.place(held, _above(world, 0.9))


def _pose_arm(world: World, held: Thing | None, *, high: bool) -> None:
    rng, scene = world.rng, world.scene
    world.set_fingers(rng.uniform(0.0, 0.04))
    for _ in range(12):
        x = scene.centre[0] + rng.uniform(-0.22, 0.18)
        y = scene.centre[1] + rng.uniform(-0.25, 0.25)
        low_m = 0.02 if held is None else held.top_m - held.bottom_m - 0.01
        height_m = rng.uniform(low_m + (0.18 if high else 0.0), low_m + 0.34)
        if held is None and rng.random() < 0.3 and scene.things:  # hover over a thing
            near = scene.data.xpos[scene.things[rng.integers(len(scene.things))].body]
            x, y = near[0], near[1]
        goal = np.array([x, y, scene.table_z_m + height_m])
        if held is not None:
            world.attach(held)
        world.set_arm(world.solve_arm(goal, yaw=rng.uniform(-1.2, 1.2)))
        if scene.sees(world.grip) and (held is not None or not world.robot_touches()):
            return


def _drop(world: World, start_s: float) -> None:
    world.now_s = start_s + float(world.rng.uniform(0.1, 1.4))
    world.release()
    world.step(start_s + SHOT_S - world.now_s)


def _doors(world: World) -> list[Joint]:
    return [j for j in world.scene.joints.values() if j.kind in ('drawer', 'door')]


def _shut(world: World, start_s: float) -> None:
    doors = _doors(world)
    if not doors:
        return
    joint = doors[world.rng.integers(len(doors))]
    world.set_joint(joint, 0.0)
    world.settle(0.05)
    at_s = start_s + float(world.rng.uniform(0.3, 1.95))
    shut_sounds(world, joint, at_s, float(world.rng.uniform(0.25, 1.0)))


def shut_sounds(world: World, joint: Joint, at_s: float, duration_s: float) -> None:
    """Add the sounds and the event of a joint that shuts after `duration_s` of motion."""
    strength = float(np.clip(0.35 / duration_s, 0.25, 1.0))
    if joint.kind == 'drawer':
        world.sounds.append(SoundEvent('slide', at_s - duration_s, strength, duration_s))
        world.sounds.append(SoundEvent('thud', at_s, strength))
        world.events.append(('shut(drawer)', at_s))
    else:
        world.sounds.append(SoundEvent('latch', at_s, strength))
        world.events.append((f'shut({joint.noun})', at_s))


def _slide(world: World, start_s: float) -> None:
    doors = [j for j in _doors(world) if j.kind == 'drawer']
    if not doors:
        return
    joint = doors[world.rng.integers(len(doors))]
    world.set_joint(joint, float(world.rng.uniform(0.9, 1.0)))
    world.settle(0.05)
    length_s = float(world.rng.uniform(0.4, 1.2))
    at_s = start_s + float(world.rng.uniform(0.0, SHOT_S - length_s))
    world.sounds.append(SoundEvent('slide', at_s, world.rng.uniform(0.25, 1.0), length_s))
