"""Recording of one episode of an expert, with a newly built task, one camera and one bag."""

from __future__ import annotations

import warnings

import mujoco
import numpy as np

from train.simulate.bag import EpisodeBag
from train.simulate.camera import Camera
from train.simulate.episode import EpisodePlan, marks
from train.simulate.metaworld.scene import LEFT, PALM, RIGHT, ExpertScene
from train.simulate.metaworld.tasks import ExpertTask
from train.simulate.metaworld.truth import evaluate
from train.simulate.metaworld.world import ExpertWorld
from train.simulate.shots import background_sounds
from train.simulate.sound import synthesise

CAMERA = 'corner4'
WARM_PARTS_K = {
    **dict.fromkeys(('right_l', 'head'), 7.0),
    **dict.fromkeys((*LEFT, *RIGHT, *PALM), 4.0),
}
ROBOT_PARTS = {
    **dict.fromkeys(('right_l', 'head', 'right_arm', 'right_torso'), 'robot arm'),
    **dict.fromkeys((*LEFT, *RIGHT, *PALM), 'gripper'),
}


class ExpertCamera(Camera):
    """MetaWorld's camera in a corner above the table."""

    warm_parts_k = WARM_PARTS_K
    robot_parts = ROBOT_PARTS

    def __init__(self, scene: ExpertScene) -> None:
        _turn_upright(scene)
        super().__init__(scene, CAMERA)
        self._option.geomgroup[0] = 1  # MetaWorld's furniture and fingers; collision is group 4

    def jitter(self, rng: np.random.Generator) -> None:
        """As in the base class; MetaWorld's three lights share the brightness of one light."""
        super().jitter(rng)
        self._model.light_diffuse[:] *= 0.5


def record(plan: EpisodePlan) -> int:
    """Record one episode and write its bag.

    The task is built again for every episode, because MetaWorld keeps state across resets.

    Returns:
        Number of camera frames.
    """
    assert isinstance(plan.task, ExpertTask)
    seed = plan.world_seed
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # experts constantly exceed the limits of the arm
        world = ExpertWorld(ExpertScene(plan.task, seed=seed % 2**31), rng)
        camera = ExpertCamera(world.scene)
        try:
            if plan.randomise:
                camera.jitter(rng)
            bag = EpisodeBag(plan.path, marks(plan))
            bag.task(plan.task.language)
            count = _film(plan, world, camera, bag)
        finally:
            camera.close()
    world.finish()
    background_sounds(world, 0.0, world.now_s)
    bag.sound(0.0, synthesise(world.sounds, start_s=0.0, duration_s=world.now_s, seed=plan.seed))
    bag.mark('success', 'false' if world.succeeded_s is None else 'true')
    bag.write()
    return count


def _film(plan: EpisodePlan, world: ExpertWorld, camera: ExpertCamera, bag: EpisodeBag) -> int:
    frames, next_s = 0, 0.0
    while world.now_s < plan.duration_s and not world.is_over():
        world.step()
        if world.now_s + 1e-6 >= next_s:
            frame = camera.look(world, world.rng)
            bag.frame(world.now_s, frame, focal_px=camera.focal_px)
            bag.truth(world.now_s, evaluate(world))
            bag.regions(world.now_s, frame.regions, camera.region_names)
            frames += 1
            next_s += plan.frame_every_s
    return frames


def _turn_upright(scene: ExpertScene) -> None:
    """Turn the camera upright: MetaWorld's corner cameras are upside down."""
    index = scene.model.camera(CAMERA).id
    half_turn = np.array([0.0, 0.0, 0.0, 1.0])
    quaternion = np.zeros(4)
    mujoco.mju_mulQuat(quaternion, scene.model.cam_quat[index].copy(), half_turn)
    scene.model.cam_quat[index] = quaternion
    mujoco.mj_camlight(scene.model, scene.data)
