"""Ground truth of a world in its current state, by LIBERO's own predicates if it has them."""

from __future__ import annotations

from train.simulate.scene import Joint, Place, Thing
from train.simulate.world import World

EVENT_WINDOW_S = 2.0
LIFTED_M = 0.06
HOT_ABOVE_K = 333.0
COLD_BELOW_K = 318.0
CLOSED_BELOW = 0.1


def evaluate(world: World) -> dict[str, bool]:
    """Evaluate all predicates of the scene that are clearly true or clearly false.

    A half-open drawer or a lukewarm stove is neither and is left out. If several things share a
    name, a predicate is true if it is true of any of them.

    Returns:
        Truth by predicate, `relation(argument, ...)`, in a fixed order.
    """
    truth: dict[str, bool] = {}
    for joint in world.scene.joints.values():
        _add_joint(truth, world, joint)
    _add_any_drawer(truth, world)
    _add_heat(truth, world)
    _add_gripper(truth, world)
    for place in world.scene.places:
        for thing in world.scene.things:
            if thing.name != place.state_name:
                _add(
                    truth,
                    f'{place.relation}({thing.noun}, {place.noun})',
                    _is_at(world, thing, place),
                )
    _add_events(truth, world)
    return truth


def _add(truth: dict[str, bool], predicate: str, value: bool) -> None:
    truth[predicate] = truth.get(predicate, False) or value


def _add_joint(truth: dict[str, bool], world: World, joint: Joint) -> None:
    if joint.kind == 'knob':
        truth[f'turned on({joint.noun})'] = world.stove_is_on()
        return
    fixture = world.scene.env.get_object(joint.state_name)
    if fixture.is_open(float(world.scene.data.qpos[joint.qpos])):
        truth[f'open({joint.noun})'] = True
    elif world.scene.joint_position(joint) < CLOSED_BELOW:
        truth[f'open({joint.noun})'] = False


def _add_any_drawer(truth: dict[str, bool], world: World) -> None:
    drawers = [j for j in world.scene.joints.values() if j.kind == 'drawer']
    known = [truth[f'open({j.noun})'] for j in drawers if f'open({j.noun})' in truth]
    if any(known):
        truth['open(drawer)'] = True
    elif drawers and len(known) == len(drawers):
        truth['open(drawer)'] = False


def _add_heat(truth: dict[str, bool], world: World) -> None:
    for joint in world.scene.joints.values():
        if joint.kind != 'knob':
            continue
        if world.heat.plate_k > HOT_ABOVE_K:
            truth[f'hot({joint.noun})'] = True
        elif world.heat.plate_k < COLD_BELOW_K:
            truth[f'hot({joint.noun})'] = False


def _add_gripper(truth: dict[str, bool], world: World) -> None:
    held = world.held.thing if world.held is not None else None
    truth['holding(something)'] = held is not None
    truth['lifted(something)'] = held is not None and _is_lifted(world, held)
    for thing in world.scene.things:
        is_held = held is not None and held.name == thing.name
        _add(truth, f'holding({thing.noun})', is_held)
        _add(truth, f'lifted({thing.noun})', is_held and _is_lifted(world, thing))
        _add(truth, f'contact(gripper, {thing.noun})', is_held or world.finger_touches(thing))


def _is_lifted(world: World, thing: Thing) -> bool:
    bottom_m = float(world.scene.data.qpos[thing.qpos + 2]) + thing.bottom_m
    return bottom_m > world.scene.table_z_m + LIFTED_M


def _is_at(world: World, thing: Thing, place: Place) -> bool:
    if world.held is not None and world.held.thing.name == thing.name:
        return False
    states = world.scene.env.object_states_dict
    where, what = states[place.state_name], states[thing.name]
    if place.relation == 'in':
        return bool(where.check_contact(what) and where.check_contain(what))
    return bool(where.check_ontop(what))


def _add_events(truth: dict[str, bool], world: World) -> None:
    names = ['dropped(something)']
    drawers = any(j.kind == 'drawer' for j in world.scene.joints.values())
    names += ['shut(drawer)'] if drawers else []
    names += [f'shut({j.noun})' for j in world.scene.joints.values() if j.kind == 'door']
    for name in names:
        truth[name] = any(
            event == name and 0 <= world.now_s - at_s < EVENT_WINDOW_S
            for event, at_s in world.events
        )
