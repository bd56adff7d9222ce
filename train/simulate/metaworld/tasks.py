"""MetaWorld's fifty tasks: instruction, handled object, and the facts defined by the task's state.

One row per task. A new task needs only a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from train.simulate.suites import METAWORLD


@dataclass(frozen=True, slots=True)
class Moved:
    """Fact that is true near one end of a joint's travel and false near the other.

    Attributes:
        predicate: The predicate that is true at `opened`.
        kind: Kind of sound (see `world.END_VOICES`): drawer, door, button, handle or lock.
        closed, opened: Joint positions, metres or radians.
    """

    predicate: str
    kind: str
    closed: float
    opened: float


@dataclass(frozen=True, slots=True)
class Goal:
    """Fact that is true once MetaWorld reports success, and false far from the goal."""

    predicate: str


@dataclass(frozen=True, slots=True)
class Start:
    """Fact that is true at the object's initial position, and false far from it."""

    predicate: str


@dataclass(frozen=True, slots=True)
class Done:
    """Fact that is true on success and false before, for goals without a place or joint."""


Fact = Moved | Goal | Start | Done


@dataclass(frozen=True, slots=True)
class ExpertTask:
    """One of MetaWorld's tasks.

    Attributes:
        scene: MetaWorld's name without its version.
        language: Instruction, written for this project, because MetaWorld has none.
        noun: Noun of the handled object.
        part: Name of its joint, or of its body, in MetaWorld's model.
        facts: Facts defined by its state, in addition to contact and grasp.
        touches: Things that the handled object may touch, as pairs of noun and body.
    """

    scene: str
    language: str
    noun: str
    part: str
    facts: tuple[Fact, ...]
    touches: tuple[tuple[str, str], ...] = ()

    @property
    def suite(self) -> str:
        """Always MetaWorld."""
        return METAWORLD

    @property
    def split(self) -> str:
        """Always `train`: scenes for evaluation come from LIBERO."""
        return 'train'


DOOR = Moved('open(door)', 'door', 0.0, -1.5)
DRAWER = Moved('open(drawer)', 'drawer', 0.0, -0.15)
WINDOW = Moved('open(window)', 'drawer', 0.0, 0.2)
LOCK = Moved('locked(door)', 'lock', 0.0, 1.57)
BUTTON = Moved('pressed(button)', 'button', 0.0, -0.06)
COFFEE_BUTTON = Moved('pressed(button)', 'button', 0.0, 0.03)
HANDLE = Moved('pressed(handle)', 'handle', 0.0, -0.1)
THERMOS = (('thermos', 'object'),)
DONE = (Done(),)

# fmt: off
TASKS = (
    ExpertTask('assembly', 'put the nut onto the peg', 'nut', 'RoundNut', (Goal('on(nut, peg)'),)),
    ExpertTask('basketball', 'dunk the basketball', 'basketball', 'bsktball', DONE),
    ExpertTask('bin-picking', 'move the block from the red bin to the blue bin', 'block', 'obj',
               (Start('in(block, red bin)'), Goal('in(block, blue bin)'))),
    ExpertTask('box-close', 'close the box with its lid', 'lid', 'boxbodytop',
               (Goal('on(lid, box)'),)),
    ExpertTask('button-press', 'press the button', 'button', 'btnbox_joint', (BUTTON,)),
    ExpertTask('button-press-topdown', 'press the button from above', 'button', 'btnbox_joint',
               (BUTTON,)),
    ExpertTask('button-press-topdown-wall', 'press the button from above behind the wall',
               'button', 'btnbox_joint', (BUTTON,)),
    ExpertTask('button-press-wall', 'press the button behind the wall', 'button', 'btnbox_joint',
               (BUTTON,)),
    ExpertTask('coffee-button', 'press the button of the coffee machine', 'button', 'goal_slidey',
               (COFFEE_BUTTON,)),
    ExpertTask('coffee-pull', 'pull the mug away from the coffee machine', 'mug', 'obj',
               (Start('near(mug, coffee machine)'),)),
    ExpertTask('coffee-push', 'push the mug under the coffee machine', 'mug', 'obj',
               (Goal('near(mug, coffee machine)'),)),
    ExpertTask('dial-turn', 'turn the dial', 'dial', 'knob_Joint_1', DONE),
    ExpertTask('disassemble', 'take the nut off the peg', 'nut', 'RoundNut',
               (Start('on(nut, peg)'),)),
    ExpertTask('door-close', 'close the door', 'door', 'doorjoint', (DOOR,)),
    ExpertTask('door-lock', 'lock the door', 'lock', 'lock_link', (LOCK,)),
    ExpertTask('door-open', 'open the door', 'door', 'doorjoint', (DOOR,)),
    ExpertTask('door-unlock', 'unlock the door', 'lock', 'lock_link', (LOCK,)),
    ExpertTask('drawer-close', 'close the drawer', 'drawer', 'goal_slidey', (DRAWER,)),
    ExpertTask('drawer-open', 'open the drawer', 'drawer', 'goal_slidey', (DRAWER,)),
    ExpertTask('faucet-close', 'turn the faucet clockwise', 'faucet', 'knob_Joint_1', DONE),
    ExpertTask('faucet-open', 'turn the faucet counterclockwise', 'faucet', 'knob_Joint_1', DONE),
    ExpertTask('hammer', 'hammer the nail into the block', 'hammer', 'hammerbody', DONE,
               (('nail', 'nail_link'),)),
    ExpertTask('hand-insert', 'put the block into the hole', 'block', 'obj',
               (Goal('in(block, hole)'),)),
    ExpertTask('handle-press', 'press the handle down', 'handle', 'handle_link', (HANDLE,)),
    ExpertTask('handle-press-side', 'press the handle down from the side', 'handle',
               'handle_link', (HANDLE,)),
    ExpertTask('handle-pull', 'pull the handle up', 'handle', 'handle_link', (HANDLE,)),
    ExpertTask('handle-pull-side', 'pull the handle up from the side', 'handle', 'handle_link',
               (HANDLE,)),
    ExpertTask('lever-pull', 'pull the lever', 'lever', 'LeverAxis', DONE),
    ExpertTask('peg-insert-side', 'put the peg into the hole', 'peg', 'peg',
               (Goal('in(peg, hole)'),)),
    ExpertTask('peg-unplug-side', 'pull the plug out of the socket', 'plug', 'plug1',
               (Start('in(plug, socket)'),)),
    ExpertTask('pick-out-of-hole', 'take the block out of the hole', 'block', 'obj',
               (Start('in(block, hole)'),)),
    ExpertTask('pick-place', 'lift the puck to the target', 'puck', 'obj', DONE),
    ExpertTask('pick-place-wall', 'lift the puck over the wall to the target', 'puck', 'obj',
               DONE),
    ExpertTask('plate-slide', 'slide the puck into the net', 'puck', 'goal_slidex',
               (Goal('in(puck, net)'),)),
    ExpertTask('plate-slide-back', 'slide the puck out of the net', 'puck', 'goal_slidex',
               (Start('in(puck, net)'),)),
    ExpertTask('plate-slide-back-side', 'slide the puck out of the net sideways', 'puck',
               'goal_slidex', (Start('in(puck, net)'),)),
    ExpertTask('plate-slide-side', 'slide the puck into the net sideways', 'puck', 'goal_slidex',
               (Goal('in(puck, net)'),)),
    ExpertTask('push', 'push the puck to the target', 'puck', 'obj', DONE),
    ExpertTask('push-back', 'pull the block back to the target', 'block', 'obj', DONE),
    ExpertTask('push-wall', 'push the puck around the wall to the target', 'puck', 'obj', DONE),
    ExpertTask('reach', 'reach the target', 'puck', 'obj', DONE),
    ExpertTask('reach-wall', 'reach the target behind the wall', 'puck', 'obj', DONE),
    ExpertTask('shelf-place', 'put the block on the shelf', 'block', 'obj', DONE),
    ExpertTask('soccer', 'push the ball into the net', 'ball', 'soccer_ball',
               (Goal('in(ball, net)'),)),
    ExpertTask('stick-pull', 'pull the thermos with the stick', 'stick', 'stick', DONE, THERMOS),
    ExpertTask('stick-push', 'push the thermos with the stick', 'stick', 'stick', DONE, THERMOS),
    ExpertTask('sweep', 'sweep the block to the edge of the table', 'block', 'obj', DONE),
    ExpertTask('sweep-into', 'sweep the block into the hole', 'block', 'obj',
               (Goal('in(block, hole)'),)),
    ExpertTask('window-close', 'close the window', 'window', 'window_slide', (WINDOW,)),
    ExpertTask('window-open', 'open the window', 'window', 'window_slide', (WINDOW,)),
)
# fmt: on


def list_tasks() -> list[ExpertTask]:
    """List all tasks, in order of name.

    Raises:
        ModuleNotFoundError: MetaWorld is not installed; the message names the command.
    """
    try:
        import_module('metaworld.policies')
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'MetaWorld is not installed ({error.name} is missing): run `make sim`'
        ) from error
    return list(TASKS)
