"""A LIBERO scene as named parts: movable things, places that hold them, joints that open.

This module holds state; motion is in `world`, truth in `truth`, sensors in `camera` and `sound`.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.simulate.furniture import furnish
from train.simulate.names import joint_noun, noun, place_of_site
from train.simulate.objects import INSTRUCTION, exchange_objects
from train.simulate.suites import ALL_SUITES, EVALUATION_SUITES, TRAINING_SUITES

# Scenes of libero_90 that libero_10 shares: held out, so that evaluation scenes stay unseen.
HELD_OUT_SCENES = frozenset(
    [f'KITCHEN_SCENE{n}' for n in (3, 4, 6, 8)]
    + [f'LIVING_ROOM_SCENE{n}' for n in (1, 2, 5, 6)]
    + ['STUDY_SCENE1']
)
FURNITURE = ('basket', 'tray', 'caddy', 'shelf', 'rack')
SUPPORTS = ('plate', 'black bowl', 'white bowl', 'ramekin', 'cookie box', 'frying pan')
CAMERA = 'agentview'
VIEW_MARGIN = 0.93  # of half the image
ARM_JOINTS = tuple(f'robot0_joint{n}' for n in range(1, 8))
ARM_HOME = (0.0, 0.16, 0.0, -2.44, 0.0, 2.6, 0.785)  # elbow bent, gripper pointing down

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thing:
    """A free object. Offsets are in metres from the body origin, in its resting orientation."""

    name: str
    noun: str
    body: int
    qpos: int
    dof: int
    bottom_m: float
    top_m: float
    radius_m: float
    quaternion: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Joint:
    """Joint of a drawer, door or knob; `closed` and `opened` are joint positions."""

    noun: str
    kind: str
    qpos: int
    dof: int
    closed: float
    opened: float
    state_name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A place for things; `relation` is `in` or `on`, and `joint` must be open to reach it."""

    relation: str
    noun: str
    state_name: str
    is_site: bool
    joint: str | None


@dataclass(frozen=True, slots=True)
class SceneTask:
    """One buildable scene of a suite.

    `objects_seed` exchanges its objects, `furniture_seed` furniture and objects; None keeps them.
    """

    suite: str
    scene: str
    bddl: Path
    language: str
    objects_seed: int | None = None
    furniture_seed: int | None = None

    @property
    def split(self) -> str:
        """`evaluation` for suites that are never used in training, otherwise `train`."""
        return 'evaluation' if self.suite in EVALUATION_SUITES else 'train'


def list_scenes(suite: str) -> list[SceneTask]:
    """List the distinct scenes of a LIBERO suite, without those held out for evaluation.

    Raises:
        ValueError: The suite is unknown; the message lists the known suites.
        ModuleNotFoundError: The simulator is not installed; the message names the command.
    """
    if suite not in (*TRAINING_SUITES, *EVALUATION_SUITES):
        raise ValueError(f'unknown suite {suite!r}, expected one of {", ".join(ALL_SUITES)}')
    scenes: dict[str, SceneTask] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        benchmark = _libero()['benchmark'].get_benchmark_dict()[suite]()
    for index in range(benchmark.n_tasks):
        task = benchmark.get_task(index)
        found = re.match(r'[A-Z_]+_SCENE\d+', task.name)
        scene = found.group() if found else _scene_key(suite, task.name)
        if suite == 'libero_90' and scene in HELD_OUT_SCENES:
            continue
        bddl = Path(benchmark.get_task_bddl_file_path(index))
        scenes.setdefault(scene, SceneTask(suite, scene, bddl, task.language))
    return list(scenes.values())


def _scene_key(suite: str, task: str) -> str:
    # All ten tasks of each of these two suites share one set of furniture and objects.
    return suite if suite in ('libero_goal', 'libero_spatial') else f'{suite}_{task[8:40]}'


@lru_cache(maxsize=1)
def _libero() -> dict[str, Any]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import libero.libero.envs.bddl_utils as bddl_utils
            import robosuite
            from libero.libero import benchmark
            from libero.libero.envs import TASK_MAPPING
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the simulator is not installed ({error.name} is missing): run `make sim`'
        ) from error
    return {
        'benchmark': benchmark,
        'bddl_utils': bddl_utils,
        'robosuite': robosuite,
        'problems': TASK_MAPPING,
    }


def with_other_objects(task: SceneTask, seed: int) -> SceneTask:
    """The same scene with exchanged objects and a neutral instruction (the old one names them)."""
    return replace(task, objects_seed=seed, language=INSTRUCTION)


def with_other_furniture(task: SceneTask, seed: int) -> SceneTask:
    """The same table with other furniture and objects, and a neutral instruction."""
    return replace(task, furniture_seed=seed, language=INSTRUCTION)


@contextlib.contextmanager
def scene_file(task: SceneTask) -> Iterator[Path]:
    """Context with the BDDL file of a scene, with what the task exchanges."""
    text = written = task.bddl.read_text()
    if task.furniture_seed is not None:
        text = furnish(text, seed=task.furniture_seed)
    if task.objects_seed is not None:
        text = exchange_objects(text, seed=task.objects_seed)
    if text == written:
        yield task.bddl
        return
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / task.bddl.name
        changed.write_text(text)
        yield changed


class Scene:
    """A built LIBERO scene.

    Attributes:
        env: LIBERO's environment, whose predicates define the truth.
        model, data: MuJoCo's model and data, shared with `env`.
        things: Free objects that can be carried.
        furniture: Free objects that are not moved (baskets, trays, caddies).
        joints: Joints by noun.
        places: Places where things can be in or on.
        table_z_m: Height of the supporting surface.
        centre: x, y of the middle of the workspace, metres.
    """

    def __init__(self, task: SceneTask) -> None:
        self.task = task
        with scene_file(task) as bddl:
            self.env = self._build(bddl)
        self.reset(seed=0)

    @staticmethod
    def _build(bddl: Path) -> Any:
        libero = _libero()
        with contextlib.redirect_stdout(io.StringIO()):
            problem = libero['bddl_utils'].get_problem_info(str(bddl))['problem_name']
            controller = libero['robosuite'].load_controller_config(default_controller='OSC_POSE')
            return libero['problems'][problem](
                str(bddl),
                robots=['Panda'],
                controller_configs=controller,
                gripper_types='default',
                use_camera_obs=False,
                has_renderer=False,
                has_offscreen_renderer=False,
                control_freq=20,
                hard_reset=False,
                ignore_done=True,
            )

    def reset(self, *, seed: int) -> None:
        """Place everything again according to the task file, and let it come to rest."""
        import mujoco

        np.random.seed(seed)  # robosuite's samplers draw from the global generator
        with contextlib.redirect_stdout(io.StringIO()):
            self.env.reset()
        self.model = self.env.sim.model._model
        self.data = self.env.sim.data._data
        arm = [int(self.model.joint(name).qposadr[0]) for name in ARM_JOINTS]
        for _ in range(300):
            self.data.qpos[arm] = ARM_HOME
            mujoco.mj_step(self.model, self.data)
        self.data.qvel[:] = 0
        mujoco.mj_forward(self.model, self.data)
        self._name_parts()

    def _name_parts(self) -> None:
        free = {name: self._thing(name) for name in self.env.objects_dict}
        self.furniture = [t for t in free.values() if any(f in t.noun for f in FURNITURE)]
        self.things = [t for t in free.values() if t not in self.furniture]
        self.joints = {joint.noun: joint for joint in self._joints()}
        self.places = self._places()
        bottoms = [self.data.xpos[t.body][2] + t.bottom_m for t in free.values()]
        self.table_z_m = float(min(bottoms))
        offset = getattr(self.env, 'workspace_offset', (0.0, 0.0, 0.0))
        self.centre = (float(offset[0]), float(offset[1]))

    def _thing(self, name: str) -> Thing:
        body = self.env.obj_body_id[name]
        low, high = self.bounds(body)
        origin = self.data.xpos[body]
        joint = int(self.model.body_jntadr[body])
        qpos = int(self.model.jnt_qposadr[joint])
        return Thing(
            name=name,
            noun=noun(name),
            body=body,
            qpos=qpos,
            dof=int(self.model.jnt_dofadr[joint]),
            bottom_m=float(low[2] - origin[2]),
            top_m=float(high[2] - origin[2]),
            radius_m=float(max(high[:2] - low[:2]) / 2),
            quaternion=tuple(float(v) for v in self.data.qpos[qpos + 3 : qpos + 7]),
        )

    def bounds(self, body: int) -> tuple[Vector, Vector]:
        """Axis-aligned corners of a body and everything attached to it, metres, world frame."""
        lows, highs = [], []
        for geom in range(self.model.ngeom):
            if not self._belongs_to(int(self.model.geom_bodyid[geom]), body):
                continue
            rotation = self.data.geom_xmat[geom].reshape(3, 3)
            box = self.model.geom_aabb[geom]
            centre = self.data.geom_xpos[geom] + rotation @ box[:3]
            half = np.abs(rotation) @ box[3:]
            lows.append(centre - half)
            highs.append(centre + half)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def _belongs_to(self, body: int, ancestor: int) -> bool:
        while body > 0:
            if body == ancestor:
                return True
            body = int(self.model.body_parentid[body])
        return False

    def _joints(self) -> list[Joint]:
        found = []
        for parent, fixture in {**self.env.fixtures_dict, **self.env.objects_dict}.items():
            for name in fixture.joints:
                joint = self.model.joint(name)
                if joint.type[0] == 0 or not hasattr(fixture, 'object_properties'):
                    continue
                low, high = (float(v) for v in joint.range)
                is_knob = hasattr(fixture, 'turn_on')
                kind = 'knob' if is_knob else 'drawer' if joint.type[0] == 2 else 'door'
                closed, opened = (0.0, high) if is_knob or high > abs(low) else (0.0, low)
                found.append(
                    Joint(
                        noun=joint_noun(name, parent),
                        kind=kind,
                        qpos=int(joint.qposadr[0]),
                        dof=int(joint.dofadr[0]),
                        closed=closed,
                        opened=opened,
                        state_name=parent,
                    )
                )
        return found

    def _places(self) -> list[Place]:
        places = []
        for site, state in self.env.object_states_dict.items():
            if state.object_state_type != 'site' or state.parent_name is None:
                continue
            found = place_of_site(site, state.parent_name)
            if found is None:
                continue
            relation, name = found
            behind = name if relation == 'in' and name in self.joints else None
            places.append(Place(relation, name, site, True, behind))
        supports = [t for t in self.things if t.noun in SUPPORTS]
        places += [Place('on', t.noun, t.name, False, None) for t in supports]
        return places

    def sees(self, point: Vector) -> bool:
        """Whether a point, metres in the world frame, is well inside the camera image."""
        camera = self.model.camera(CAMERA).id
        ahead = self.data.cam_xmat[camera].reshape(3, 3).T @ (point - self.data.cam_xpos[camera])
        limit = VIEW_MARGIN * np.tan(np.deg2rad(self.model.cam_fovy[camera]) / 2) * -ahead[2]
        return bool(ahead[2] < 0 and np.abs(ahead[:2]).max() < limit)

    def joint_position(self, joint: Joint) -> float:
        """Opening as a fraction: 0 closed or off, 1 fully open or on."""
        value = float(self.data.qpos[joint.qpos])
        return (value - joint.closed) / (joint.opened - joint.closed)

    def fixture_bodies(self) -> dict[str, int]:
        """Body ids of the furniture that is fixed to the world, by LIBERO name."""
        return {
            name: self.env.obj_body_id[name]
            for name in self.env.fixtures_dict
            if name in self.env.obj_body_id and 'table' not in name and 'floor' not in name
        }
