"""Ground truth of a MetaWorld task in its current state, by success, positions and contacts."""

from __future__ import annotations

import numpy as np

from train.simulate.metaworld.scene import Touch
from train.simulate.metaworld.tasks import Done, Fact, Goal, Moved, Start
from train.simulate.metaworld.world import SHUTS, ExpertWorld
from train.simulate.truth import CLOSED_BELOW, EVENT_WINDOW_S, LIFTED_M

OPEN_ABOVE = 0.6
NEAR_M = 0.02
FAR_M = 0.10
BOUNCE_S = 0.1


def evaluate(world: ExpertWorld) -> dict[str, bool]:
    """Evaluate all predicates of the task that are clearly true or clearly false.

    Returns:
        Truth by predicate, `relation(argument, ...)`, in a fixed order.
    """
    task = world.scene.task
    truth: dict[str, bool] = {}
    for fact in task.facts:
        name = f'done({task.language})' if isinstance(fact, Done) else fact.predicate
        _add(truth, name, _fact(world, fact))
    _add_grasp(truth, world)
    for noun, body in world.scene.fixture_bodies().items():
        truth[f'contact({task.noun}, {noun})'] = world.scene.touches(body)
    _add_shut(truth, world)
    return truth


def _add(truth: dict[str, bool], predicate: str, value: bool | None) -> None:
    if value is not None:
        truth[predicate] = value


def _fact(world: ExpertWorld, fact: Fact) -> bool | None:
    if isinstance(fact, Moved):
        return _moved(world)
    if isinstance(fact, Goal):
        return _at_goal(world)
    if isinstance(fact, Start):
        return _at_start(world)
    return _succeeded(world)


def _succeeded(world: ExpertWorld) -> bool | None:
    """Whether the goal is reached; None if unclear, as when an object overshoots it later."""
    if world.info['success']:
        return True
    return False if world.succeeded_s is None else None


def _moved(world: ExpertWorld) -> bool | None:
    (joint,) = world.scene.joints.values()
    opening = world.scene.joint_position(joint)
    if opening > OPEN_ABOVE:
        return True
    return False if opening < CLOSED_BELOW else None


def _at_goal(world: ExpertWorld) -> bool | None:
    succeeded = _succeeded(world)
    if succeeded is not False:
        return succeeded
    target = np.asarray(world.scene.env._target_pos)
    across_m = float(np.linalg.norm((world.object_position() - target)[:2]))
    # Some tasks do not measure the distance and always report 0.
    distance_m = float(world.info['obj_to_target']) or across_m
    return False if distance_m > FAR_M else None


def _at_start(world: ExpertWorld) -> bool | None:
    moved_m = float(np.linalg.norm(world.object_position() - world.start))
    if world.info['success'] or moved_m > FAR_M:
        return False
    return True if moved_m < NEAR_M else None


def _add_grasp(truth: dict[str, bool], world: ExpertWorld) -> None:
    """Add contact, grasp and lift of the handled object.

    MetaWorld's `grasp_success` is constant in some tasks and an effort in others, so a grasp is
    MetaWorld's criterion for touching an object: both fingers in contact. With one finger the
    grasp is unknown. Pushed objects bounce, so contact ends only `BOUNCE_S` after the last touch.
    """
    noun, touch = world.scene.task.noun, world.touch
    is_free = world.now_s - world.touched_s > BOUNCE_S
    is_touched = None if touch == Touch() else True
    _add(truth, f'contact(gripper, {noun})', False if is_free else is_touched)
    nouns = ['something', *(thing.noun for thing in world.scene.things)]
    is_held = False if is_free else None
    if world.scene.things and touch.left and touch.right:
        is_held = True
    raised_m = float(world.scene.data.xpos[world.scene.part][2]) - world.start_z_m
    is_lifted = None
    if is_held and raised_m > LIFTED_M:
        is_lifted = True
    elif is_held is False or (world.scene.things and raised_m < NEAR_M):
        is_lifted = False
    for argument in nouns:
        _add(truth, f'holding({argument})', is_held)
        _add(truth, f'lifted({argument})', is_lifted)


def _add_shut(truth: dict[str, bool], world: ExpertWorld) -> None:
    for joint in world.scene.joints.values():
        if joint.kind in SHUTS:
            name = f'shut({joint.noun})'
            truth[name] = any(
                event == name and 0 <= world.now_s - at_s < EVENT_WINDOW_S
                for event, at_s in world.events
            )
